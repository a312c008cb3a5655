//! Connections over real sockets, with handlers that do what handlers may do.

use std::{convert::Infallible, future::pending, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, routing::any};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::timeout,
};
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

/// Serves every connection to the address that it gives.
async fn listen(router: Router, settings: ListenSettings) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (settings, slots, counted) =
        (Arc::new(settings), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), TaskTracker::new());
    task::spawn(TaskKind::Connection, async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let permit = slots.clone().try_acquire_owned().unwrap();
            let slot = Slot { _permit: permit, _counted: counted.token() };
            let socket = Socket::new(tcp, settings.write_stall_timeout, slot);
            let (router, settings) = (router.clone(), settings.clone());
            task::spawn(TaskKind::Connection, async move {
                drop(super::serve(socket, router, &settings, &Shutdown::default()).await);
            });
        }
    });
    address
}

/// A connection to handlers that read their bodies, or do not.
async fn peer(told: &[(u16, u32)]) -> Peer {
    peer_with(told, ListenSettings::default()).await
}

async fn peer_with(told: &[(u16, u32)], settings: ListenSettings) -> Peer {
    let router = Router::new()
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
                while kept.frame().await.is_some() {}
                pending().await
            }),
        )
        .route("/endless", any(async || endless()));
    Peer::connect(listen(router, settings).await, told).await
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

#[tokio::test]
async fn bodies_that_are_cut_before_they_were_read_take_nothing_from_the_window() {
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(2).take(12) {
        peer.write(&post(stream, "/hold", &[])).await;
        peer.upload(stream, &[0; 200 << 10], false).await;
        peer.write(&reset(stream)).await;
    }
    uploads(&mut peer, 101, 2 << 20).await;
}

#[tokio::test]
async fn bodies_that_nobody_reads_any_more_take_nothing_from_the_window() {
    let mut peer = peer(&[]).await;
    for stream in [1, 3, 5, 7, 9] {
        peer.write(&post(stream, "/drop", &[])).await;
    }
    peer.round_trip().await;
    for stream in [1, 3, 5, 7, 9] {
        peer.upload(stream, &[0; 1 << 20], false).await;
    }
    uploads(&mut peer, 101, 2 << 20).await;
}

#[tokio::test]
async fn padding_comes_back_at_once() {
    let mut peer = peer(&[]).await;
    peer.write(&post(1, "/read", &[])).await;
    let padding = [&[255][..], &[0; 255]].concat();
    let padded = frame(DATA, PADDED, 1, &padding);
    for _ in 0..2 * STREAM_WINDOW / padding.len() {
        while peer.window.min(peer.window_of(1)) < padding.len() as i64 {
            timeout(SOON, peer.next()).await.expect("the window grows").expect("the connection goes on");
        }
        peer.write(&padded).await;
        peer.spend(1, padding.len());
    }
    peer.upload(1, b"abc", true).await;
    assert_eq!(peer.ended(1).await.body, b"0 3");
}

/// Each of them is small, and none is answered yet.
#[tokio::test]
async fn many_small_bodies_that_were_read_do_not_fill_the_window() {
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(2).take(200) {
        peer.write(&post(stream, "/think", &[])).await;
        peer.upload(stream, &[0; 15 << 10], true).await;
    }
    uploads(&mut peer, 1001, 1 << 20).await;
}

#[tokio::test]
async fn a_window_never_grows_by_more_than_was_sent() {
    let mut peer = peer(&[]).await;
    peer.round_trip().await;
    let (begin, mut sent) = (peer.granted, 0);
    for stream in (1..).step_by(2).take(150) {
        // Ends before it is as long as it said.
        peer.write(&post(stream, "/hold", &[("content-length", "20000")])).await;
        peer.upload(stream, &[0; 10_000], true).await;
        sent += 10_000;
        assert_eq!(peer.ended(stream).await.reset, Some(PROTOCOL_ERROR));
    }
    peer.round_trip().await;
    let granted = peer.granted - begin;
    assert!((sent - (1 << 20)..=sent).contains(&granted), "{granted} for {sent}");
}

#[tokio::test]
async fn what_comes_late_of_a_refused_request_is_passed_over() {
    let settings = ListenSettings { max_streams: 1, ..ListenSettings::default() };
    let mut peer = peer_with(&[], settings).await;
    let trailers = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&[("a", "b")]));
    peer.write(&post(1, "/read", &[])).await;
    peer.write(&post(3, "/read", &[])).await;
    peer.write(&frame(DATA, 0, 3, b"abc")).await;
    peer.write(&trailers(3)).await;
    assert_eq!(peer.ended(3).await.reset, Some(REFUSED_STREAM));
    // The same for one whose head breaks a rule, and for one whose head is too long.
    let long = "x".repeat(60 << 10);
    for (stream, path, value) in [(5, "no path", ""), (7, "/", long.as_str())] {
        let head = request("POST", path, &[("x", value), ("y", &long[..10 << 10])]);
        let (first, rest) = head.split_at(head.len().min(16 << 10));
        let mut frames = frame(HEADERS, if rest.is_empty() { END_HEADERS } else { 0 }, stream, first);
        let last = rest.len().div_ceil(16 << 10);
        for (part, it) in rest.chunks(16 << 10).enumerate() {
            frames.extend(frame(CONTINUATION, if part + 1 == last { END_HEADERS } else { 0 }, stream, it));
        }
        frames.extend(frame(DATA, 0, stream, b"abc"));
        frames.extend(trailers(stream));
        peer.write(&frames).await;
        assert!(peer.ended(stream).await.over());
    }
    peer.upload(1, b"abc", true).await;
    assert_eq!(peer.ended(1).await.body, b"0 3");
    assert!(peer.farewells.is_empty());
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection_though_nothing_is_in_it() {
    let mut peer = peer(&[]).await;
    peer.write(&frame(HEADERS, 0, 1, &request("GET", "/", &[]))).await;
    let flood = frame(CONTINUATION, 0, 1, &[]).repeat(1000);
    for _ in 0..100 {
        peer.write(&flood).await;
    }
    assert_eq!(timeout(Duration::from_secs(5), peer.closed()).await.unwrap(), Some(ENHANCE_YOUR_CALM));
}

/// Decoders insist on it (RFC 7541, section 4.2).
#[tokio::test]
async fn a_client_with_a_smaller_table_is_told_that_it_is_not_used() {
    let mut peer = peer(&[(HEADER_TABLE_SIZE, 100)]).await;
    for stream in [1, 3] {
        peer.write(&get(stream, "/nothing")).await;
    }
    assert_eq!(peer.ended(1).await.heads[0][0], 0x20);
    assert_eq!(peer.ended(3).await.heads[0][0], 0x8d);
}

#[tokio::test]
async fn streams_share_a_window_that_opens_little_by_little() {
    let mut peer = peer(&[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)]).await;
    for stream in [1, 3, 5, 7] {
        peer.write(&get(stream, "/endless")).await;
    }
    let length = |peer: &Peer| peer.streams.values().map(|it| it.body.len()).sum::<usize>();
    let mut awaited = 65_535;
    for _ in 0..400 {
        while length(&peer) < awaited {
            timeout(SOON, peer.next()).await.expect("data comes").expect("the connection goes on");
        }
        peer.write(&window(0, 500)).await;
        awaited += 500;
    }
    let lengths: Vec<_> = peer.streams.values().map(|it| it.body.len()).collect();
    assert!(lengths.iter().all(|it| *it > 40_000), "{lengths:?}");
}

#[tokio::test]
async fn who_reads_a_body_beyond_its_connection_is_told_of_the_end() {
    let (told, mut tells) = mpsc::channel(2);
    let detached = async move |request: Request| -> &'static str {
        let read = async move {
            drop(told.send("begins".to_owned()).await);
            drop(told.send(read(request.into_body()).await).await);
        };
        task::spawn(TaskKind::Stream, read);
        pending().await
    };
    let address = listen(Router::new().route("/", any(detached)), ListenSettings::default()).await;
    for broken in [false, true] {
        let mut peer = Peer::connect(address, &[]).await;
        peer.write(&post(1, "/", &[])).await;
        peer.upload(1, b"abc", false).await;
        assert_eq!(timeout(SOON, tells.recv()).await.unwrap().unwrap(), "begins");
        if broken {
            peer.write(&frame(DATA, 0, 0, b"")).await;
        }
        drop(peer);
        let told = timeout(SOON, tells.recv()).await.expect("the reader is told").unwrap();
        assert!(told.starts_with("cut"), "{told}");
    }
}

#[tokio::test]
async fn a_farewell_that_is_too_short_is_told_so() {
    let mut peer = peer(&[]).await;
    peer.write(&frame(GOAWAY, 0, 0, &[0; 4])).await;
    assert_eq!(peer.closed().await, Some(FRAME_SIZE_ERROR));
}
