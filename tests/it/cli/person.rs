//! A person at a machine, and the cable between the machine and the gateway.

use std::{
    net::SocketAddr,
    process::{Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader, Lines,
    },
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Command},
    sync::watch,
    task::JoinSet,
};

use crate::support::gateway::BINARY;

/// A person's machine: what is remembered there, and the gateway's address.
pub(super) struct Person {
    pub(super) home: TempDir,
    pub(super) gateway: String,
}

/// A command on its way.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

/// A way to the gateway that can be cut, and healed.
pub(super) struct Cable {
    pub(super) address: SocketAddr,
    state: watch::Sender<State>,
    _connections: JoinSet<()>,
}

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It arrives there.
    To(SocketAddr),
    /// It waits.
    Frozen,
    /// Its connection is broken, and new ones too.
    Cut,
}

impl Person {
    pub(super) fn at_home(&self, command: &mut Command) {
        command.env("XDG_STATE_HOME", self.home.path()).env("RUNGATE_GATEWAY", &self.gateway);
        command.kill_on_drop(true);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.at_home(&mut command);
        command
    }

    pub(super) async fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    pub(super) async fn answering(&self, arguments: &[&str], answers: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    }

    pub(super) fn spawn(&self, arguments: &[&str]) -> Running {
        let mut child = self.command(arguments).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, out, err }
    }
}

impl Running {
    pub(super) async fn lines_until(&mut self, part: &str) -> Vec<String> {
        until(&mut self.out, part).await
    }

    pub(super) async fn error_until(&mut self, part: &str) -> Vec<String> {
        until(&mut self.err, part).await
    }

    pub(super) async fn lines_to_end(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.out.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    /// Ctrl-C.
    pub(super) fn interrupt(&self) {
        let pid = Pid::from_raw(self.child.id().unwrap() as i32).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }

    pub(super) async fn exit(mut self) -> i32 {
        self.child.wait().await.unwrap().code().unwrap()
    }
}

impl Cable {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::To(target));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            // The connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(carry(near, seen.clone()));
            }
        });
        Self { address, state, _connections: accepting }
    }

    /// Breaks all connections, and new ones too.
    pub(super) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// New connections arrive at `target`.
    pub(super) fn heal(&self, target: SocketAddr) {
        self.state.send_replace(State::To(target));
    }

    /// Nothing gets through any more, and nothing breaks.
    pub(super) fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }
}

async fn carry(near: TcpStream, mut state: watch::Receiver<State>) {
    let State::To(target) = *state.borrow() else { return };
    let far = TcpStream::connect(target).await.unwrap();
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        () = copy(near_read, far_write, state.clone()) => {}
        () = copy(far_read, near_write, state.clone()) => {}
        _ = state.wait_for(|it| *it == State::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|it| *it != State::Frozen).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn until(lines: &mut Lines<impl AsyncBufRead + Unpin>, part: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let found = line.contains(part);
        seen.push(line);
        if found {
            return seen;
        }
    }
    panic!("ended without {part:?}: {seen:#?}");
}
