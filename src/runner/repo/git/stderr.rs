//! What git writes on standard error: progress while it works, and its last words.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a line that are kept; the rest of a longer one is dropped.
const LINE_BYTES: usize = 1024;

/// Lines that are kept; older ones are dropped. Git says why it failed at the end.
const TAIL_LINES: usize = 30;

/// How far a clone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneProgress {
    /// What is being done.
    pub phase: ClonePhase,
    /// How much of the phase is done, 0 to 100.
    pub percent: u8,
}

/// What a clone is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClonePhase {
    /// Not begun: others are being fetched.
    Waiting,
    /// The server puts the repository together.
    Preparing,
    /// On its way.
    Receiving,
    /// Being unpacked.
    Resolving,
    /// The files are being written.
    Writing,
}

/// The last lines of git's standard error that are no progress.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<String>);

/// Cuts a stream into lines, also at carriage returns.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl CloneProgress {
    /// How much of the whole clone is done, 0 to 100. Never falls from one phase to the next.
    pub fn overall(self) -> u8 {
        let (from, to) = match self.phase {
            ClonePhase::Waiting => (0, 0),
            ClonePhase::Preparing => (0, 10),
            ClonePhase::Receiving => (10, 75),
            ClonePhase::Resolving => (75, 85),
            ClonePhase::Writing => (85, 100),
        };
        from + (u16::from(to - from) * u16::from(self.percent.min(100)) / 100) as u8
    }

    /// For a person.
    pub fn message(self) -> String {
        let what = match self.phase {
            ClonePhase::Waiting => return "waiting until other repositories are fetched".to_owned(),
            ClonePhase::Preparing => "the host prepares the repository",
            ClonePhase::Receiving => "receiving the repository",
            ClonePhase::Resolving => "unpacking the repository",
            ClonePhase::Writing => "writing the files",
        };
        format!("{what}: {}%", self.percent)
    }

    /// Reads a line such as `Receiving objects:  42% (420/1000)`.
    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("remote: ").unwrap_or(line);
        let (what, rest) = line.split_once(':')?;
        let phase = match what {
            "Enumerating objects" | "Counting objects" | "Compressing objects" => ClonePhase::Preparing,
            "Receiving objects" => ClonePhase::Receiving,
            "Resolving deltas" => ClonePhase::Resolving,
            "Updating files" | "Checking out files" | "Filtering content" => ClonePhase::Writing,
            _ => return None,
        };
        let percent = match (what, rest.split_once('%')) {
            // The server says 100% of counting, then 100% of compressing.
            ("Compressing objects", Some((percent, _))) => {
                50 + percent.trim().parse::<u8>().ok()?.min(100) / 2
            }
            ("Counting objects", Some((percent, _))) => percent.trim().parse::<u8>().ok()?.min(100) / 2,
            (_, Some((percent, _))) => percent.trim().parse::<u8>().ok()?.min(100),
            (_, None) => 0,
        };
        Some(Self { phase, percent })
    }
}

impl Tail {
    #[cfg(test)]
    pub(super) fn new(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    pub(super) fn text(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The text for the log: `secrets` and whatever stands before the `@` of a URL are taken out.
    pub(super) fn redacted(&self, secrets: &[String]) -> String {
        let mut text = self.text();
        for secret in secrets.iter().filter(|it| !it.is_empty()) {
            text = text.replace(secret, "***");
        }
        without_userinfo(&text)
    }

    fn push(&mut self, line: String) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut on_line: impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    on_line(String::from_utf8_lossy(&self.line).trim());
                    self.line.clear();
                }
                _ if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }
}

/// Reads to the end. `progress` hears of every step forward, never of one back.
pub(super) async fn follow(
    mut stderr: impl AsyncRead + Unpin,
    progress: &(dyn Fn(CloneProgress) + Send + Sync),
    tail: &mut Tail,
) {
    let mut lines = Lines::default();
    let mut buffer = [0; 4096];
    let mut furthest = None;
    let mut on_line = |line: &str| match CloneProgress::parse(line) {
        Some(step) if furthest.is_none_or(|it| it < (step.phase, step.percent)) => {
            furthest = Some((step.phase, step.percent));
            progress(step);
        }
        Some(_) => {}
        None if line.is_empty() => {}
        None => tail.push(line.to_owned()),
    };
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        lines.feed(&buffer[..count], &mut on_line);
    }
    lines.feed(b"\n", &mut on_line);
}

fn without_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let authority =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"')).unwrap_or(after.len());
        rest = match after[..authority].rfind('@') {
            Some(sign) => {
                out.push_str("***");
                &after[sign..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn progress_goes_forward_only_and_last_words_are_kept() {
        let said = "Cloning into 'x'...\nremote: Counting objects:  50% (1/2)\rremote: Counting objects: 100% (2/2), done.\n\
                    Receiving objects:  42% (42/100)\rReceiving objects:  41% (41/100)\rReceiving objects: 100% (100/100), 1 KiB\n\
                    Resolving deltas:   7% (7/100)\rfatal: the end";
        let (seen, mut tail) = (Mutex::new(Vec::new()), Tail::default());
        let progress =
            |step: CloneProgress| seen.lock().unwrap().push((step.phase, step.percent, step.overall()));
        follow(said.as_bytes(), &progress, &mut tail).await;
        use ClonePhase::*;
        let expected = [
            (Preparing, 25, 2),
            (Preparing, 50, 5),
            (Receiving, 42, 37),
            (Receiving, 100, 75),
            (Resolving, 7, 75),
        ];
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(tail.text(), "Cloning into 'x'...\nfatal: the end");
    }

    #[tokio::test]
    async fn endless_lines_and_endless_output_are_bounded() {
        let mut said = "x".repeat(1 << 20);
        said.push_str(&"\nline".repeat(100_000));
        let mut tail = Tail::default();
        follow(said.as_bytes(), &|_| {}, &mut tail).await;
        assert!(tail.text().len() <= TAIL_LINES * (LINE_BYTES + 1));
    }

    #[test]
    fn secrets_are_taken_out() {
        let tail = Tail::new("fatal: unable to access 'https://ann:pw@host/a': tok3n");
        assert_eq!(tail.redacted(&["tok3n".to_owned()]), "fatal: unable to access 'https://***@host/a': ***");
    }
}
