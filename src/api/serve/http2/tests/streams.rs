//! Streams: how they begin and end.

use tokio::sync::mpsc;

use super::*;

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
    let server = Server::new(Router::new().route("/", any(detached)), ListenSettings::default()).await;
    for broken in [false, true] {
        let mut peer = Peer::connect(server.address, &[]).await;
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

/// The rest of the request is not wanted, and the client is told so behind the answer.
#[tokio::test]
async fn an_answer_may_come_before_the_end_of_its_request() {
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(2).take(20) {
        peer.write(&post(stream, "/early", &[])).await;
        peer.upload(stream, &[0; 10_000], false).await;
        let told = peer.ended(stream).await;
        assert_eq!((told.status(), &told.body[..], told.ended), (200, &b"early"[..], true));
        let reset = |it: &Seen| (it.kind == RST_STREAM && it.stream == stream).then(|| it.number());
        let reset = match peer.streams[&stream].reset {
            Some(reason) => reason,
            None => peer.until("the reset behind the answer", reset).await,
        };
        assert_eq!(reset, NO_ERROR);
        // The client has not heard it yet.
        peer.upload(stream, &[0; 100_000], true).await;
        peer.round_trip().await;
    }
    uploads(&mut peer, 101, 2 << 20).await;
}

/// Not even of one that had been answered before: what it sent before it heard that comes before its reset.
#[tokio::test]
async fn behind_its_reset_a_client_sends_no_more_of_a_stream() {
    let mut peer = peer(&[]).await;
    for stream in [1, 3] {
        peer.write(&post(stream, "/early", &[])).await;
        assert_eq!(peer.ended(stream).await.status(), 200);
    }
    peer.round_trip().await;
    peer.write(&[reset(1), frame(DATA, 0, 1, b"x")].concat()).await;
    let reset_again = |it: &Seen| (it.kind == RST_STREAM && it.stream == 1).then(|| it.number());
    assert_eq!(peer.until("a reset", reset_again).await, STREAM_CLOSED);
    let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 3, &fields(&[("a", "b")]));
    peer.write(&[reset(3), trailers].concat()).await;
    assert_eq!(peer.closed().await, Some(STREAM_CLOSED));
}

#[tokio::test]
async fn what_follows_a_body_is_read() {
    let mut peer = peer(&[]).await;
    peer.write(&post(1, "/read", &[("content-length", "3")])).await;
    peer.write(&frame(DATA, 0, 1, b"abc")).await;
    let trailers = fields(&[("a", "b"), ("c", "d")]);
    let (first, rest) = trailers.split_at(4);
    peer.write(&frame(HEADERS, END_STREAM, 1, first)).await;
    peer.write(&frame(CONTINUATION, END_HEADERS, 1, rest)).await;
    assert_eq!(peer.ended(1).await.body, b"2 3");
}

/// Whether it is still being made or already on its way.
#[tokio::test]
async fn a_stream_that_is_reset_drops_what_was_made_for_it() {
    let held = Arc::new(());
    let (made, asked) = (held.clone(), held.clone());
    let answer = async move || {
        let held = made.clone();
        Body::from_stream(endless().into_data_stream().inspect(move |_| drop(held.clone())))
    };
    let never = async move || -> &'static str {
        let _held = asked.clone();
        pending().await
    };
    let router = Router::new().route("/answer", any(answer)).route("/never", any(never));
    let mut peer = Peer::connect(Server::new(router, ListenSettings::default()).await.address, &[]).await;
    peer.write(&[get(1, "/answer"), get(3, "/never")].concat()).await;
    peer.answered(1).await;
    let before = Arc::strong_count(&held);
    peer.write(&[reset(1), reset(3)].concat()).await;
    let dropped = async {
        while Arc::strong_count(&held) > before - 2 {
            peer.round_trip().await;
        }
    };
    timeout(SOON, dropped).await.expect("both are dropped");
}

/// It opens no more streams; those that there are go on to their end.
#[tokio::test]
async fn a_client_that_says_farewell_is_served_to_its_last_stream() {
    let mut peer = peer(&[]).await;
    peer.write(&post(1, "/read", &[])).await;
    peer.upload(1, &[0; 1000], false).await;
    peer.write(&[frame(GOAWAY, 0, 0, &[0; 8]), get(3, "/early")].concat()).await;
    assert_eq!(peer.ended(3).await.reset, Some(REFUSED_STREAM));
    peer.upload(1, &[0; 1000], true).await;
    assert_eq!(peer.ended(1).await.body, b"0 2000");
    assert_eq!(peer.closed().await, None);
}

/// Who asks only to give up costs much for little, also when it is the gateway that has to give up.
#[tokio::test]
async fn a_client_that_only_gives_up_loses_its_connection() {
    let ends: [fn(u32) -> Vec<u8>; 4] = [
        reset,
        |stream| window(stream, 0),
        |stream| window(stream, (1 << 31) - 1),
        |stream| frame(PRIORITY, 0, stream, &[0; 4]),
    ];
    for end in ends {
        let mut peer = peer(&[]).await;
        for stream in (1..).step_by(2).take(1500) {
            peer.write(&[post(stream, "/hold", &[]), end(stream)].concat()).await;
        }
        assert_eq!(peer.closed().await, Some(ENHANCE_YOUR_CALM));
    }
    // Who is answered now and then has more patience left.
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(6).take(700) {
        peer.write(&[post(stream, "/hold", &[]), reset(stream)].concat()).await;
        peer.write(&get(stream + 2, "/early")).await;
        peer.ended(stream + 2).await;
    }
    peer.round_trip().await;
}
