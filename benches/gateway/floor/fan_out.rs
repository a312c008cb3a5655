//! Fan-out without a gateway: one task per watcher, which is woken and writes bytes that are encoded already to its
//! socket; one write for all that is ready.

use std::{
    io::{self, BufRead as _, BufReader},
    net::Ipv4Addr,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{options::Options, process};

/// The hidden role of this program; the number of records and their bytes follow.
pub(crate) const ROLE: &str = "--role-floor-fan-out";

/// The most that goes out in one write.
const WRITE_BYTES: usize = 256 << 10;

type Records = Arc<[OnceLock<Bytes>]>;

/// Starts one that takes `count` lines of a worker on its standard input, and sends each as `bytes` on the wire.
pub(crate) fn start(options: &Options, count: usize, bytes: usize) -> process::Server {
    let mut command: Command = process::this_program(ROLE);
    command.args([count.to_string(), bytes.to_string()]);
    process::Server::start(&mut command, options.server_cores())
}

/// The program itself.
pub(crate) fn work(count: usize, bytes: usize) -> io::Result<()> {
    let records: Records = (0..count).map(|_| OnceLock::new()).collect();
    let (ready, hint) = watch::channel(0);
    let published = records.clone();
    thread::spawn(move || {
        let lines = BufReader::new(io::stdin()).lines().map_while(Result::ok);
        for (number, line) in lines.enumerate() {
            // As long as what the gateway sends of the same event; the text is a part of it.
            let mut record = line.into_bytes();
            record.resize(bytes, b' ');
            drop(published[number].set(record.into()));
            ready.send_replace(number + 1);
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}{}", process::ANNOUNCEMENT, listener.local_addr()?);
        let mut watchers = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            watchers.spawn(watch(stream, records.clone(), hint.clone(), bytes));
        }
    })
}

async fn watch(
    mut stream: TcpStream,
    records: Records,
    mut hint: watch::Receiver<usize>,
    bytes: usize,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let most = (WRITE_BYTES / bytes).max(1);
    let mut written = 0;
    while hint.changed().await.is_ok() {
        let ready = *hint.borrow_and_update();
        while written < ready {
            let end = ready.min(written + most);
            let new = records[written..end].iter().filter_map(OnceLock::get);
            if end == written + 1 {
                for record in new {
                    stream.write_all(record).await?;
                }
            } else {
                let mut all = BytesMut::new();
                new.for_each(|it| all.extend_from_slice(it));
                stream.write_all(&all).await?;
            }
            written = end;
        }
    }
    Ok(())
}
