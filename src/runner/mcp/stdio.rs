//! MCP servers that are programs: how one is started, and bounds on what it writes.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    pin::Pin,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, ReadBuf},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::process::ProcessGroup;
use crate::runner::llm::Secret;

/// What a program needs of the environment to run at all, find its home and reach the network. All else of the gateway's
/// environment, keys foremost, is none of its business.
const INHERITED: [&str; 22] = [
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Bytes of a line on standard error that are logged; the rest of the line is passed over.
const LOG_LINE_BYTES: usize = 2048;

/// A started program.
pub(super) struct Started {
    /// Ends it.
    pub(super) process: ProcessGroup,
    /// What it reads.
    pub(super) stdin: ChildStdin,
    /// What it says.
    pub(super) stdout: ChildStdout,
    /// What it says beside.
    pub(super) stderr: ChildStderr,
}

/// Bytes of which no line is longer than a bound. At a longer one the stream ends and the flag is set: who sends such a
/// line cannot be understood from there on, and whoever waits for its answer must not wait in vain.
pub(super) struct BoundedLines<R> {
    inner: R,
    line: usize,
    limit: usize,
    too_long: Arc<AtomicBool>,
}

/// Starts a program with piped streams.
pub(super) fn start(
    command: &[String],
    env: &BTreeMap<String, Secret>,
    cwd: Option<&Path>,
) -> io::Result<Started> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(env.iter().map(|(name, value)| (name, value.reveal())));
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = ProcessGroup::spawn(&mut command)?;
    let child = process.child();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    match (stdin, stdout, stderr) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Started { process, stdin, stdout, stderr }),
        _ => Err(io::Error::other("a child without its streams")),
    }
}

/// Logs what a server writes to standard error, line by line, until it is closed.
pub(super) async fn log_lines(server: String, stderr: impl AsyncRead + Unpin) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while let Ok(bytes) = stderr.fill_buf().await {
        if bytes.is_empty() {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        line.extend_from_slice(&part[..part.len().min(LOG_LINE_BYTES - line.len())]);
        let used = part.len() + usize::from(end.is_some());
        if end.is_some() {
            log_line(&server, &line);
            line.clear();
        }
        stderr.consume(used);
    }
    log_line(&server, &line);
}

fn log_line(server: &str, line: &[u8]) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    if !text.is_empty() {
        tracing::debug!(server, "{}", text.escape_debug());
    }
}

impl<R> BoundedLines<R> {
    /// Lets lines of up to `limit` bytes pass.
    pub(super) fn new(inner: R, limit: usize, too_long: Arc<AtomicBool>) -> Self {
        Self { inner, line: 0, limit, too_long }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BoundedLines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.too_long.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let mut line = self.line;
        for byte in &buf.filled()[before..] {
            line = if *byte == b'\n' { 0 } else { line + 1 };
            if line > self.limit {
                self.too_long.store(true, Ordering::Relaxed);
                buf.set_filled(before);
                break;
            }
        }
        self.line = line;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_line_beyond_the_bound_ends_the_stream() {
        let too_long = Arc::new(AtomicBool::new(false));
        let mut lines = BoundedLines::new(&b"abcd\nabcd\n"[..], 4, too_long.clone());
        let mut read = String::new();
        lines.read_to_string(&mut read).await.unwrap();
        assert_eq!((read.as_str(), too_long.load(Ordering::Relaxed)), ("abcd\nabcd\n", false));

        let (first, second) = (&b"abcd\nab"[..], &b"cde\nab\n"[..]);
        let mut lines = BoundedLines::new(first.chain(second), 4, too_long.clone());
        let mut read = String::new();
        lines.read_to_string(&mut read).await.unwrap();
        assert_eq!((read.as_str(), too_long.load(Ordering::Relaxed)), ("abcd\nab", true));
    }
}
