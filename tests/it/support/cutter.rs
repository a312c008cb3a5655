//! A proxy between one client and the gateway that cuts the response after a number of bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
};

/// A proxy for one connection. It ends with this value.
pub(crate) struct Cutter {
    address: SocketAddr,
    passed: Arc<AtomicUsize>,
    _passing: JoinSet<()>,
}

impl Cutter {
    /// Passes everything on to `target`, and back no more than `bytes`: then the connection is closed, in order, so
    /// that exactly these bytes arrive.
    pub(crate) async fn after(bytes: usize, target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicUsize::new(0));
        let count = passed.clone();
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let Ok((client, _)) = listener.accept().await else { return };
            // An error is an end like any other.
            drop(pass(client, target, bytes, &count).await);
        });
        Self { address, passed, _passing: passing }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have come back through it.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

async fn pass(
    mut client: TcpStream,
    target: SocketAddr,
    bytes: usize,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.split();
    {
        let (from_server, mut to_server) = server.split();
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = back(from_server, &mut to_client, bytes, count) => {}
        }
    }
    drop(server);
    // What the client still says is read: a connection that is closed over unread bytes is reset, and a reset takes
    // with it what the client has not read yet.
    to_client.shutdown().await?;
    copy(&mut from_client, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn back(
    mut from: ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut left: usize,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = left.min(buffer.len());
        match from.read(&mut buffer[..most]).await? {
            0 => break,
            read => {
                to.write_all(&buffer[..read]).await?;
                count.fetch_add(read, Ordering::Relaxed);
                left -= read;
            }
        }
    }
    Ok(())
}
