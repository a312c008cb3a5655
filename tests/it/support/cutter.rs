//! A proxy between a client and the gateway that cuts the response after a number of bytes.

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

/// A proxy that runs. It ends with this value.
pub(crate) struct Cutter {
    address: SocketAddr,
    place: Arc<Place>,
    _accepting: JoinSet<()>,
}

/// Where a connection is cut.
#[derive(Default)]
struct Place {
    after: AtomicUsize,
    passed: AtomicUsize,
}

impl Cutter {
    /// Passes everything on to `target`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let place = Arc::new(Place::default());
        let shared = place.clone();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (place, after) = (shared.clone(), shared.after.load(Ordering::Relaxed));
                connections.spawn(async move {
                    // An error is an end like any other.
                    drop(pass(client, target, after, &place.passed).await);
                });
            }
        });
        Self { address, place, _accepting: accepting }
    }

    /// Passes back no more than `bytes` on each connection that begins from now on: then it is closed, in order, so that
    /// exactly these bytes arrive.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.place.after.store(bytes, Ordering::Relaxed);
        self.place.passed.store(0, Ordering::Relaxed);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have come back through it since it was told where to cut.
    pub(crate) fn passed(&self) -> usize {
        self.place.passed.load(Ordering::Relaxed)
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
