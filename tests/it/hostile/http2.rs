//! Clients of HTTP/2 that keep its frames and not its manners. Each loses its stream or its connection, or costs no more than its
//! share.

use std::time::{Duration, Instant};

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::timeout;

use super::{CUT_OFF, serves_as_before};
use crate::support::{
    client::{Client, Protocol, SERVICE},
    gateway::{Setup, WORKERS, shared},
    http2::*,
    story, trial,
};

/// What one connection may take whose client does not read: what waits for it, and its share of everything else.
const CONNECTION_BYTES: u64 = 1 << 20;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::http2_requests_that_are_given_up_at_once", rapid_resets),
        trial("hostile::http2_requests_that_the_gateway_has_to_give_up", made_resets),
        trial("hostile::http2_heads_without_end", endless_heads),
        trial("hostile::http2_heads_that_are_small_and_become_large", bombs),
        trial("hostile::http2_heads_that_come_slowly", slow_heads),
        trial("hostile::http2_questions_whose_answers_are_not_read", unread_answers),
        trial("hostile::http2_bodies_in_single_bytes", single_bytes),
        trial("hostile::http2_frames_of_nothing", nothing),
        trial("hostile::http2_windows_of_one_byte", one_byte_windows),
        trial("hostile::http2_frames_that_break_the_rules", broken_rules),
    ]
}

fn start(stream: u32) -> Vec<u8> {
    post(stream, &format!("/{SERVICE}/StartRun"), &[("content-type", "application/json")])
}

/// As many as may be given up, and some; what they cost is let go.
async fn gives_up(end: impl Fn(u32) -> Vec<u8>) {
    let gateway = Setup::default().start().await;
    serves_as_before(&gateway).await;
    let before = gateway.resident_bytes();
    for _ in 0..12 {
        let mut peer = Peer::connect(gateway.address(), &[]).await;
        let flood: Vec<u8> =
            (1..).step_by(2).take(5000).flat_map(|it| [start(it), end(it)].concat()).collect();
        peer.write(&flood).await;
        let reason = peer.closed().await;
        // A connection with data on its way may be reset before the farewell is read.
        assert!(matches!(reason, Some(ENHANCE_YOUR_CALM) | None), "{reason:?}");
    }
    serves_as_before(&gateway).await;
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

/// CVE-2023-44487.
async fn rapid_resets() {
    gives_up(reset).await;
}

/// CVE-2025-8671.
async fn made_resets() {
    gives_up(|stream| window(stream, 0)).await;
    gives_up(|stream| frame(PRIORITY, 0, stream, &[0; 4])).await;
}

/// CVE-2024-27316: in frames that have something or nothing in them.
async fn endless_heads() {
    let gateway = shared().await;
    for payload in [&[][..], &fields(&[("a", "b")]), &[0; 16 << 10]] {
        let mut peer = Peer::connect(gateway.address(), &[]).await;
        let piece = frame(CONTINUATION, 0, 1, payload);
        let mut flood = frame(HEADERS, 0, 1, &request("GET", "/", &[]));
        flood.extend(piece.repeat((2 << 20) / piece.len()));
        peer.write(&flood).await;
        let reason = peer.closed().await;
        assert!(matches!(reason, Some(ENHANCE_YOUR_CALM) | None), "{reason:?}");
    }
    serves_as_before(gateway).await;
}

/// A field that is kept, and a head that is that field again and again.
async fn bombs() {
    let gateway = Setup::default().start().await;
    serves_as_before(&gateway).await;
    let before = gateway.peak_resident_bytes();
    let mut peer = Peer::connect(gateway.address(), &[]).await;
    // A literal that is to be kept: its name of one octet, and a value of 4000.
    let value = "x".repeat(4000);
    let mut first = request("GET", "/healthz", &[]);
    let mut kept = fields(&[("x", value.as_str())]);
    kept[0] = 0x40;
    first.extend(kept);
    peer.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first)).await;
    assert_eq!(peer.ended(1).await.status(), 200);
    for stream in (3..).step_by(2).take(50) {
        let mut frames = frame(HEADERS, END_STREAM, stream, &request("GET", "/healthz", &[]));
        for part in 0..8 {
            let flags = if part == 7 { END_HEADERS } else { 0 };
            frames.extend(frame(CONTINUATION, flags, stream, &[0xbe; 16 << 10]));
        }
        peer.write(&frames).await;
        assert_eq!(peer.ended(stream).await.status(), 431);
    }
    peer.write(&get(1001, "/healthz")).await;
    assert_eq!(peer.ended(1001).await.status(), 200);
    let grown = gateway.peak_resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    serves_as_before(&gateway).await;
}

async fn slow_heads() {
    let gateway = Setup::default().config("[connections]\nheader_timeout = \"500ms\"\n").start().await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/", &[]));
    let begins = [
        PREFACE.to_vec(),
        [PREFACE, &settings(&[])[..5]].concat(),
        [PREFACE, &settings(&[]), &head[..9]].concat(),
        [PREFACE, &settings(&[]), &head[..head.len() - 1]].concat(),
        [PREFACE, &settings(&[]), &frame(HEADERS, END_STREAM, 1, &request("GET", "/", &[]))].concat(),
    ];
    let cut = begins.map(async |begin| {
        let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let mut peer = Peer::silent(tcp);
        peer.polite = false;
        // A byte now and then is no head.
        let (last, first) = begin.split_last().unwrap();
        peer.write(first).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        peer.write(&[*last]).await;
        peer.closed().await;
    });
    timeout(Duration::from_secs(5), join_all(cut)).await.expect("all are cut off");
    // Nor are bytes or frames that never end, however steadily they come.
    let begun = [PREFACE, &settings(&[])].concat();
    let long = |kind, stream| frame(kind, END_HEADERS, stream, &[0; 6000])[..9].to_vec();
    let endless = [
        (PREFACE.to_vec(), long(SETTINGS, 0), vec![0]),
        (begun.clone(), long(HEADERS, 1), vec![0]),
        (
            begun,
            frame(HEADERS, 0, 1, &request("GET", "/", &[])),
            frame(CONTINUATION, 0, 1, &fields(&[("a", "b")])),
        ),
    ];
    let cut = endless.map(async |(begin, head, piece)| {
        let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        let mut peer = Peer::silent(tcp);
        peer.write(&[begin, head].concat()).await;
        while peer.try_write(&piece).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    timeout(Duration::from_secs(5), join_all(cut)).await.expect("all are cut off");
    // What is no head may take its time.
    let mut peer = Peer::connect(gateway.address(), &[]).await;
    peer.write(&frame(PING, 0, 0, b"12345678")[..12]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    peer.write(&frame(PING, 0, 0, b"12345678")[12..]).await;
    peer.round_trip().await;
    serves_as_before(&gateway).await;
}

/// Pings, settings, requests: the gateway stops listening to who does not listen, and cuts it off.
async fn unread_answers() {
    let gateway = Setup::default().config("[connections]\nwrite_stall_timeout = \"2s\"\n").start().await;
    serves_as_before(&gateway).await;
    let (before, files) = (gateway.resident_bytes(), gateway.open_files());
    let questions = [
        frame(PING, 0, 0, b"12345678").repeat(1000),
        settings(&[(INITIAL_WINDOW_SIZE, 1000)]).repeat(1000),
        frame(PRIORITY, 0, 1, &[0; 4]).repeat(1000),
    ];
    let crowd = (0..24).map(async |place: usize| {
        let mut peer = Peer::narrow(gateway.address(), &[]).await;
        peer.write(&[get(1, "/healthz"), get(3, "/nothing")].concat()).await;
        let question = &questions[place % questions.len()];
        let asks = async { while peer.try_write(question).await.is_ok() {} };
        assert!(timeout(CUT_OFF, asks).await.is_ok(), "it is never cut off");
    });
    let crowd = async { join_all(crowd).await };
    let watched = async {
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(gateway.resident_bytes());
        }
        timeout(Duration::from_secs(10), serves_as_before(&gateway)).await.expect("others are served");
        most
    };
    let (_, most) = tokio::join!(crowd, watched);
    let grown = most.saturating_sub(before);
    assert!(grown < 24 * CONNECTION_BYTES, "{grown} bytes more");
    while gateway.open_files() > files {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    serves_as_before(&gateway).await;
}

/// Each byte in a frame of its own, with padding or without.
async fn single_bytes() {
    let gateway = Setup::default().start().await;
    serves_as_before(&gateway).await;
    let before = gateway.peak_resident_bytes();
    for piece in [frame(DATA, 0, 1, b"["), frame(DATA, PADDED, 1, b"\x05[     ")] {
        let mut peer = Peer::connect(gateway.address(), &[]).await;
        peer.write(&start(1)).await;
        let (frames, bytes) = (500, piece.len() - 9);
        let flood = piece.repeat(frames);
        for _ in 0..1000 {
            while peer.window.min(peer.window_of(1)) < (frames * bytes) as i64 {
                timeout(SOON, peer.next()).await.expect("the window grows").expect("the connection goes on");
            }
            peer.write(&flood).await;
            peer.spend(1, frames * bytes);
        }
        peer.write(&frame(DATA, END_STREAM, 1, &[])).await;
        assert_eq!(peer.ended(1).await.status(), 400);
    }
    let grown = gateway.peak_resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more");
    serves_as_before(&gateway).await;
}

/// Frames that say nothing are taken, and others are served meanwhile.
async fn nothing() {
    let gateway = Setup::default().start().await;
    let floods: [Vec<u8>; 6] = [
        frame(DATA, 0, 1, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        frame(0xbe, 0, 0, &[]),
        window(1, 1),
        frame(RST_STREAM, 0, 3, &[0; 4]),
        frame(PING, ACK, 0, &[0; 8]),
    ];
    let crowd = floods.map(async |piece| {
        let mut peer = Peer::connect(gateway.address(), &[]).await;
        peer.write(&[start(1), get(3, "/healthz")].concat()).await;
        peer.ended(3).await;
        let piece = piece.repeat(2000);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            peer.try_write(&piece).await.unwrap();
        }
        // What was asked before is heard behind all that.
        peer.write(&frame(DATA, END_STREAM, 1, b"{")).await;
        assert_eq!(peer.ended(1).await.status(), 400);
    });
    let served = timeout(CUT_OFF, serves_as_before(&gateway));
    let (_, served) = tokio::join!(join_all(crowd), served);
    served.expect("others are served in time");
}

/// It gets what it takes, and no other stream waits for it.
async fn one_byte_windows() {
    let gateway = shared().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let (run, _) = story::finished(client, "worker_DAG").await;
    let events = format!("/v1/runs/{run}/events");
    let mut whole = Peer::connect(gateway.address(), &[]).await;
    whole.write(&get(1, &events)).await;
    let whole = &whole.ended(1).await.body;
    let mut peer = Peer::connect(gateway.address(), &[(INITIAL_WINDOW_SIZE, 1)]).await;
    let streams: Vec<u32> = (1..).step_by(2).take(100).collect();
    peer.write(&streams.iter().flat_map(|it| get(*it, &events)).collect::<Vec<_>>()).await;
    for _ in 0..50 {
        peer.write(&streams.iter().flat_map(|it| window(*it, 1)).collect::<Vec<_>>()).await;
        peer.round_trip().await;
    }
    timeout(Duration::from_secs(10), serves_as_before(gateway)).await.expect("others are served");
    let arrived = async {
        while streams.iter().any(|it| peer.streams.get(it).is_none_or(|it| it.body.len() < 51)) {
            peer.next().await.expect("the connection goes on");
        }
    };
    timeout(SOON, arrived).await.expect("all that was taken comes");
    assert!(streams.iter().all(|it| peer.streams[it].body == whole[..51]));
    peer.write(&settings(&[(INITIAL_WINDOW_SIZE, 1 << 20)])).await;
    peer.write(&window(0, 1 << 24)).await;
    for stream in streams {
        assert!(peer.ended(stream).await.body == *whole);
    }
}

/// Each ends the connection with a reason.
async fn broken_rules() {
    let gateway = Setup::default().config(WORKERS).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let run = story::run(client, "linger").await;
    let watch = get(1, &format!("/v1/runs/{run}/events"));
    let large = (1 << 31) - 1;
    for (bytes, reason) in [
        (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        (frame(DATA, 0, 9, b"x"), PROTOCOL_ERROR),
        (frame(DATA, PADDED, 1, b"\x09x"), PROTOCOL_ERROR),
        (get(2, "/"), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 0, &[]), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 3, &[0x80]), COMPRESSION_ERROR),
        (frame(HEADERS, END_HEADERS, 3, &[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]), COMPRESSION_ERROR),
        ([frame(HEADERS, 0, 3, &[0x82]), frame(PING, 0, 0, &[0; 8])].concat(), PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, 1, &[0x82]), PROTOCOL_ERROR),
        (frame(0x5, END_HEADERS, 1, &[0; 8]), PROTOCOL_ERROR),
        (frame(PING, 0, 0, &[0; 7]), FRAME_SIZE_ERROR),
        (frame(PING, 0, 1, &[0; 8]), PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 1, &[0; 3]), FRAME_SIZE_ERROR),
        (frame(RST_STREAM, 0, 9, &[0; 4]), PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE_ERROR),
        (frame(SETTINGS, ACK, 0, &[0; 6]), FRAME_SIZE_ERROR),
        (settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]), FLOW_CONTROL_ERROR),
        ([window(1, 100_000), settings(&[(INITIAL_WINDOW_SIZE, large)])].concat(), FLOW_CONTROL_ERROR),
        (window(0, large), FLOW_CONTROL_ERROR),
        (window(0, 0), PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 3]), FRAME_SIZE_ERROR),
        (frame(DATA, 0, 1, &vec![0; (16 << 10) + 1])[..9].to_vec(), FRAME_SIZE_ERROR),
    ] {
        let mut peer = Peer::connect(gateway.address(), &[]).await;
        peer.write(&watch).await;
        assert_eq!(peer.answered(1).await.status(), 200);
        peer.write(&bytes).await;
        assert_eq!(peer.closed().await, Some(reason), "{:?}", &bytes[..bytes.len().min(30)]);
    }
    story::caller(client).call("CancelRun", json!({"runId": run})).await.unwrap();
    serves_as_before(&gateway).await;
}
