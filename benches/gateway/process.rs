//! A server as a process of its own, and what the system knows of it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    ops::Range,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// What a server prints once it accepts connections, in front of its address.
pub(crate) const ANNOUNCEMENT: &str = "listening on http://";
/// A server that needs longer to listen is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// So much of what a server complains of is shown when it does not start.
const COMPLAINTS: u64 = 64 << 10;

/// A server that runs. It ends with this value.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `command` on `cores` and waits until it listens.
    pub(crate) fn start(command: &mut Command, cores: Range<usize>) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let before = sched_getaffinity(None).unwrap();
        pin(cores);
        // A child is born with the cores of the thread that starts it.
        // The gateway takes every such variable for a key of its configuration.
        command.env_remove("RUNGATE_BENCH_BINARY");
        let started = command.spawn();
        sched_setaffinity(None, &before).unwrap();
        let mut child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (announce, announced) = mpsc::sync_channel(1);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix(ANNOUNCEMENT) {
                    // It announces itself once; the rest is read so that it never waits.
                    drop(announce.try_send(address.to_owned()));
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let (complain, complaints) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            drop(stderr.by_ref().take(COMPLAINTS).read_to_string(&mut text));
            drop(complain.try_send(text));
            drop(std::io::copy(&mut stderr, &mut std::io::sink()));
        });
        let Ok(address) = announced.recv_timeout(PATIENCE) else {
            drop(child.kill());
            drop(child.wait());
            let told = complaints.recv_timeout(PATIENCE).unwrap_or_default();
            panic!("{command:?} does not listen:\n{told}");
        };
        Self { child, address: address.parse().unwrap() }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The way to its standard input, once.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Time that its threads have had of the processors, without its children.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything; the fields are numbered from 1 and the next one is the third.
        let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
    }

    /// Memory that is its own and in use, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// This program again, in another role.
pub(crate) fn this_program(role: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(role).stdin(Stdio::piped());
    command
}

/// Keeps the thread, and what it starts from now on, on `cores`; if there are none, where it is.
pub(crate) fn pin(cores: Range<usize>) {
    if cores.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    cores.clone().for_each(|it| set.set(it));
    if let Err(error) = sched_setaffinity(None, &set) {
        panic!("cannot stay on cores {cores:?}: {error}; try --unpinned");
    }
}

/// Raises the bound of open files as far as the system allows; gives it.
pub(crate) fn raise_files() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let reached = if raised.is_ok() { maximum } else { current };
    reached.unwrap_or(u64::MAX)
}
