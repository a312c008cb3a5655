//! Connections over real sockets, with handlers that do what handlers may do.

mod random;
mod streams;
mod windows;

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, routing::any};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    super::{
        ListenSettings,
        socket::{Slot, Socket},
    },
    testing::*,
};
use crate::runtime::{
    shutdown::Shutdown,
    task::{self, TaskKind},
};

/// What streams may send before it is read.
const STREAM_WINDOW: usize = super::STREAM_WINDOW;

/// Serves connections, and counts those that have ended as they should.
struct Server {
    address: SocketAddr,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    panicked: Arc<AtomicUsize>,
}

impl Server {
    async fn new(router: Router, settings: ListenSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let [begun, ended, panicked]: [Arc<AtomicUsize>; 3] = Default::default();
        let server = Self { address, begun: begun.clone(), ended: ended.clone(), panicked: panicked.clone() };
        let (settings, slots, counted) =
            (Arc::new(settings), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), TaskTracker::new());
        task::spawn(TaskKind::Connection, async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let permit = slots.clone().try_acquire_owned().unwrap();
                let slot = Slot { _permit: permit, _counted: counted.token() };
                let socket = Socket::new(tcp, settings.write_stall_timeout, slot);
                let (router, settings) = (router.clone(), settings.clone());
                let (ended, panicked) = (ended.clone(), panicked.clone());
                begun.fetch_add(1, Ordering::SeqCst);
                let served = task::spawn(TaskKind::Connection, async move {
                    drop(super::serve(socket, router, &settings, &Shutdown::default()).await);
                });
                task::spawn(TaskKind::Connection, async move {
                    if served.await.is_ok_and(|it| it.is_none()) {
                        panicked.fetch_add(1, Ordering::SeqCst);
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// All connections end, and none with a panic.
    async fn has_let_all_go(&self) {
        let ends = async {
            while self.begun.load(Ordering::SeqCst) > self.ended.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, ends).await.expect("all connections end");
        assert_eq!(self.panicked.swap(0, Ordering::SeqCst), 0, "a connection has panicked");
    }
}

/// A connection to handlers that read their bodies, or do not.
async fn peer(told: &[(u16, u32)]) -> Peer {
    peer_with(told, ListenSettings::default()).await
}

async fn peer_with(told: &[(u16, u32)], settings: ListenSettings) -> Peer {
    Peer::connect(Server::new(router(), settings).await.address, told).await
}

fn router() -> Router {
    Router::new()
        .route("/read", any(async |request: Request| read(request.into_body()).await))
        .route(
            "/hold",
            any(async |request: Request| -> &'static str {
                let _held = request.into_body();
                pending().await
            }),
        )
        .route(
            "/drop",
            any(async |request: Request| -> &'static str {
                drop(request);
                pending().await
            }),
        )
        .route(
            "/think",
            any(async |request: Request| -> &'static str {
                let mut kept = request.into_body();
                while let Some(Ok(_)) = kept.frame().await {}
                pending().await
            }),
        )
        .route("/early", any(async || "early"))
        .route("/endless", any(async || endless()))
}

async fn read(body: Body) -> String {
    match body.collect().await {
        Ok(all) => format!("{} {}", all.trailers().map_or(0, |it| it.len()), all.to_bytes().len()),
        Err(error) => format!("cut: {error}"),
    }
}

fn endless() -> Body {
    let pieces = stream::repeat(Bytes::from_static(&[b'x'; 1000]));
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

/// An upload that is read, and answered with its length.
async fn uploads(peer: &mut Peer, stream: u32, length: usize) {
    peer.write(&post(stream, "/read", &[])).await;
    peer.upload(stream, &vec![0; length], true).await;
    assert_eq!(peer.ended(stream).await.body, format!("0 {length}").as_bytes());
}
