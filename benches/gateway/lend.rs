//! Workers whose standard output is lent to the benchmark.
//!
//! A run needs a worker of its own, and a thousand programs that wake up thirty times a second would be the load. So the
//! program that the gateway starts only hands its standard output over a socket to the benchmark and sleeps; the
//! benchmark writes to the pipes of all runs from one thread.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as BlockingStream,
    },
    path::Path,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
    time::timeout,
};

/// The hidden role of this program as such a worker; the socket follows.
pub(crate) const ROLE: &str = "--role-lend";
/// Bytes of a run's id are fewer.
const RUN_ID_BYTES: usize = 128;
/// A worker that needs longer to begin is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the workers hand over their pipes.
pub(crate) struct Workshop {
    listener: UnixListener,
    /// Came before anybody asked for it.
    early: HashMap<String, Lent>,
}

/// The standard output of a run's worker. Dropped, the worker ends and with it the run.
pub(crate) struct Lent {
    pipe: File,
    _worker: UnixStream,
}

impl Workshop {
    /// Opens the socket at `path`.
    pub(crate) fn open(path: &Path) -> Self {
        Self { listener: UnixListener::bind(path).unwrap(), early: HashMap::new() }
    }

    /// The output of the worker of `run_id`.
    pub(crate) async fn lent(&mut self, run_id: &str) -> Lent {
        loop {
            if let Some(lent) = self.early.remove(run_id) {
                return lent;
            }
            let accepted = timeout(PATIENCE, self.listener.accept()).await;
            let (worker, _) = accepted.expect("the worker does not begin").unwrap();
            let (run_id, pipe) = worker.async_io(Interest::READABLE, || receive(&worker)).await.unwrap();
            self.early.insert(run_id, Lent { pipe: pipe.into(), _worker: worker });
        }
    }
}

impl Lent {
    /// What is written here, the gateway takes for the worker's words.
    pub(crate) fn pipe(&self) -> File {
        self.pipe.try_clone().unwrap()
    }
}

/// The worker: lends its output and sleeps until it gets it back.
pub(crate) fn work(socket: &Path) -> io::Result<()> {
    let mut begin = String::new();
    io::stdin().read_line(&mut begin)?;
    let begin: serde_json::Value = serde_json::from_str(&begin)?;
    let run_id = begin["run_id"].as_str().unwrap_or_default();
    let mut bench = BlockingStream::connect(socket)?;
    let stdout = io::stdout();
    let files = [stdout.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(&bench, &[IoSlice::new(run_id.as_bytes())], &mut control, SendFlags::empty())?;
    bench.read(&mut [0]).map(drop)
}

fn receive(worker: &UnixStream) -> io::Result<(String, OwnedFd)> {
    let mut run_id = [0; RUN_ID_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message =
        recvmsg(worker, &mut [IoSliceMut::new(&mut run_id)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files = control.drain().filter_map(|it| match it {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let pipe = files.flatten().next().ok_or_else(|| io::Error::other("a worker lends nothing"))?;
    Ok((String::from_utf8_lossy(&run_id[..message.bytes]).into_owned(), pipe))
}
