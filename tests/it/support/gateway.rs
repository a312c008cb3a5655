//! The gateway as a process of its own.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    sync::{OnceCell, watch},
    time::timeout,
};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rungate");

/// A gateway that needs longer to listen, or to end once it is told to, is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// So much of what a gateway writes is kept; what exceeds it is read and dropped, so that the gateway never waits.
const KEPT_BYTES: usize = 1 << 20;
/// Variables of the tests' own.
const TOLD_TO_TESTS: &str = "RUNGATE_CRASH_SEED";
const ANNOUNCEMENT: &str = "listening on http://";

/// How a gateway is started.
#[derive(Default)]
pub(crate) struct Setup {
    config: String,
    environment: Vec<(&'static str, String)>,
    data: Option<PathBuf>,
    listen: Option<String>,
    config_file: Option<PathBuf>,
}

/// A gateway that runs. It ends with this value.
pub(crate) struct Gateway {
    child: Mutex<Child>,
    pid: Pid,
    address: SocketAddr,
    folder: TempDir,
    lines: watch::Receiver<Lines>,
    log: watch::Receiver<Lines>,
}

/// What the gateway has written to standard output or standard error.
#[derive(Default)]
struct Lines {
    seen: Vec<String>,
    /// It is closed, because the process has ended.
    ended: bool,
}

/// Workers of the tests' own.
pub(crate) const WORKERS: &str = include_str!("workers.toml");

static SHARED: OnceCell<Gateway> = OnceCell::const_new();

/// The gateway of all tests that leave it as it is.
pub(crate) async fn shared() -> &'static Gateway {
    let start = || Setup::default().config(WORKERS).environment("RUNGATE_RUN_RETENTION", "10m").start();
    SHARED.get_or_init(start).await
}

/// Ends the shared gateway; statics are not dropped.
pub(crate) fn end_shared(tell: bool) {
    if let Some(gateway) = SHARED.get() {
        gateway.kill();
        if tell {
            eprintln!("the shared gateway wrote:\n{}", gateway.stderr());
        }
    }
}

impl Setup {
    /// Text of `rungate.toml`.
    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// An environment variable.
    pub(crate) fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The data folder of an earlier gateway.
    pub(crate) fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// This file instead of a `rungate.toml` of its own.
    pub(crate) fn config_file(mut self, file: &Path) -> Self {
        self.config_file = Some(file.to_owned());
        self
    }

    /// Listens there instead of on the loopback.
    pub(crate) fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// Starts the gateway and waits until it accepts connections.
    pub(crate) async fn start(self) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("rungate.toml");
        std::fs::write(&config, self.config).unwrap();
        let config = self.config_file.unwrap_or(config);
        let data = self.data.unwrap_or_else(|| folder.path().join("data"));
        let listen = self.listen.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let mut command = Command::new(BINARY);
        let arguments = ["serve".into(), "--listen".into(), listen.into(), "--data".into()];
        let arguments =
            arguments.into_iter().chain([data.into_os_string(), "--config".into(), config.into()]);
        command.args(arguments.collect::<Vec<OsString>>()).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the tests are told is no key of the gateway's.
        let told = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(TOLD_TO_TESTS));
        for (name, _) in told {
            command.env_remove(name);
        }
        command.envs(self.environment);
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let log = follow(child.stderr.take().unwrap());
        let mut lines = follow(child.stdout.take().unwrap());
        let told = lines.wait_for(|it| it.ended || it.seen.iter().any(|it| it.starts_with(ANNOUNCEMENT)));
        drop(timeout(PATIENCE, told).await);
        let seen = lines.borrow().seen.clone();
        let announced = seen.iter().find_map(|it| it.strip_prefix(ANNOUNCEMENT));
        let Some(announced) = announced else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the gateway does not listen: {}", log.borrow().seen.join("\n"));
        };
        let address = announced.parse().unwrap();
        Gateway { child: Mutex::new(child), pid, address, folder, lines, log }
    }
}

/// How a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Kill,
    Term,
}

impl End {
    /// For the names of tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "a_kill",
            Self::Term => "an_orderly_end",
        }
    }

    /// Ends it; returns when an orderly end is over.
    pub(crate) async fn of(self, gateway: &Gateway) {
        match self {
            Self::Kill => gateway.kill(),
            Self::Term => {
                gateway.signal(Signal::TERM);
                assert_eq!(gateway.ended().await.code(), Some(0));
            }
        }
    }
}

impl Gateway {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its folder of run-time state.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has written to standard error.
    pub(crate) fn stderr(&self) -> String {
        self.log.borrow().seen.join("\n")
    }

    /// Waits until it has written a line with `text` in it to standard error.
    pub(crate) async fn logs(&self, text: &str) {
        let mut log = self.log.clone();
        let told = log.wait_for(|it| it.ended || it.seen.iter().any(|it| it.contains(text)));
        let told = timeout(PATIENCE, told).await.is_ok_and(|it| it.is_ok_and(|it| !it.ended));
        assert!(told, "no `{text}` in {}", self.stderr());
    }

    /// The lines it has written to standard output.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.lines.borrow().seen.clone()
    }

    /// Memory that is its own and in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that was ever its own and in use, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// Files and connections that it has open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid.as_raw_nonzero())).unwrap().count()
    }

    /// Asks it to end.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut lines = self.lines.clone();
        let ended = timeout(PATIENCE, lines.wait_for(|it| it.ended)).await;
        assert!(ended.is_ok(), "the gateway does not end: {}", self.stderr());
        lock(&self.child).wait().unwrap()
    }

    /// Ends it the hard way.
    pub(crate) fn kill(&self) {
        let mut child = lock(&self.child);
        // An error says that it has ended already.
        drop(child.kill());
        drop(child.wait());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("the gateway wrote:\n{}", self.stderr());
        }
    }
}

/// Collects lines as they come.
fn follow(output: impl Read + Send + 'static) -> watch::Receiver<Lines> {
    let (sender, lines) = watch::channel(Lines::default());
    thread::spawn(move || {
        let mut kept = 0;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            kept += line.len() + 1;
            if kept <= KEPT_BYTES {
                sender.send_modify(|it| it.seen.push(line));
            }
        }
        sender.send_modify(|it| it.ended = true);
    });
    lines
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
