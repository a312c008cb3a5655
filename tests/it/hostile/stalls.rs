//! Watchers that stop reading.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use libtest_mimic::Trial;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::serves_as_before;
use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    patient_trial, story,
};

/// Writes 2048 pieces of 8 KiB as fast as they are taken.
const FLOOD: &str = r#"
[workers.flood]
command = ["sh", "-c", '''
read -r task
yes "{\"type\":\"delta\",\"text\":\"$(printf %08192d 0)\"}" | head -n 2048
echo '{"type":"result","output":2048}'
''']
"#;
const FLOOD_EVENTS: usize = 2048;
const FLOOD_BYTES: u64 = 16 << 20;

/// Watchers that do not read.
const STALLED: usize = 50;

/// What a stalled watcher may hold: a batch, and what waits in the buffers of its connection.
const WATCHER_BYTES: u64 = 1 << 20;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let patience = Duration::from_secs(120);
    vec![
        patient_trial("hostile::watchers_that_stop_reading", patience, stalled_watchers),
        patient_trial("hostile::watchers_that_open_no_window", patience, windowless_watchers),
        patient_trial("hostile::a_stream_that_opens_no_window_is_reset", patience, windowless_stream),
    ]
}

/// The run and other watchers are not delayed, memory stays bounded, and the stalled ones are cut off.
async fn stalled_watchers() {
    let config = format!("{FLOOD}\n[connections]\nwrite_stall_timeout = \"2s\"\n");
    let gateway = Setup::default().config(&config).environment("RUNGATE_RUN_RETENTION", "5m").start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    serves_as_before(&gateway).await;
    let (before, files) = (gateway.resident_bytes(), gateway.open_files());
    let run = story::run(client, "flood").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(watch_without_reading(&gateway, &run).await);
    }
    let log = timeout(Duration::from_secs(60), story::log_of(client, &run)).await.expect("the run goes on");
    let deltas = log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_DELTA").count();
    assert_eq!(deltas, FLOOD_EVENTS);
    assert_eq!(client.over(Protocol::Sse).watch(&run).all().await, log);

    // The log in its encodings, and what each stalled watcher may hold.
    let grown = gateway.resident_bytes().saturating_sub(before);
    let bound = 5 * FLOOD_BYTES + STALLED as u64 * WATCHER_BYTES;
    assert!(grown < bound, "{grown} bytes more, {bound} allowed");

    let cut = async {
        while gateway.open_files() > files {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), cut).await.expect("watchers that do not read are cut off");
    for mut tcp in stalled {
        // What was sent before can still be read, then comes the end of the connection, not of the log.
        let mut rest = Vec::new();
        let read = timeout(Duration::from_secs(20), tcp.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the connection has ended");
        assert!(!String::from_utf8_lossy(&rest).contains("event: close"), "it never fell behind");
    }
    serves_as_before(&gateway).await;
}

/// Over HTTP/2 the connection lives on while a stream of it is not read. It costs what the windows are large, no more;
/// once it is read again, nothing is missing.
async fn windowless_watchers() {
    let gateway = Setup::default().config(FLOOD).environment("RUNGATE_RUN_RETENTION", "5m").start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    serves_as_before(&gateway).await;
    let before = gateway.resident_bytes();
    let run = story::run(client, "flood").await;
    let mut unread: Vec<_> = (0..STALLED).map(|_| client.watch(&run)).collect();
    for watch in &mut unread {
        watch.take(1).await;
    }
    let log = timeout(Duration::from_secs(60), story::log_of(client, &run)).await.expect("the run goes on");
    let grown = gateway.resident_bytes().saturating_sub(before);
    let bound = 5 * FLOOD_BYTES + STALLED as u64 * WATCHER_BYTES;
    assert!(grown < bound, "{grown} bytes more, {bound} allowed");
    assert_eq!(unread.remove(0).all().await, log[1..]);
    drop(unread);
    serves_as_before(&gateway).await;
}

/// A client that keeps the window of one stream shut loses that stream, and no other of its connection.
async fn windowless_stream() {
    let config = format!("{FLOOD}\n[connections]\nwrite_stall_timeout = \"2s\"\n");
    let setup = Setup::default().config(&config).environment("RUNGATE_RUN_RETENTION", "5m");
    let gateway = setup.environment("RUNGATE_LOG_FILTER", "info,rungate::api::serve=debug").start().await;
    let run = story::run(Client::new(Protocol::Grpc, gateway.address()), "flood").await;
    let io = TokioIo::new(TcpStream::connect(gateway.address()).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut get = async |path: &str| {
        let uri = format!("http://{}{path}", gateway.address());
        sender.send_request(Request::get(uri).body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    };
    let events = format!("/v1/runs/{run}/events");
    let (unread, read) = (get(&events).await, get(&events).await);
    let read = read.into_body().collect().await.unwrap().to_bytes();
    assert!(read.ends_with(b"event: close\ndata: {}\n\n"));
    let cut = timeout(Duration::from_secs(20), gateway.logs("takes nothing of a stream")).await;
    cut.expect("the stream is reset");
    assert!(unread.into_body().collect().await.is_err(), "what was sent of it is not all");
    assert_eq!(get("/healthz").await.status(), 200);
}

async fn watch_without_reading(gateway: &Gateway, run: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut tcp = socket.connect(gateway.address()).await.unwrap();
    let head = format!("GET /v1/runs/{run}/events HTTP/1.1\r\nhost: gateway\r\n\r\n");
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp
}
