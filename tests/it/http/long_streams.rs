//! What stands around a stream on one connection of HTTP/1: requests before, beside and after it, and clients that go.

use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::CHATTER;
use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup, WORKERS, shared},
    story, trial,
};

/// An answer that takes longer does not come.
const SOON: Duration = Duration::from_secs(20);

/// Connections at a time, where they are counted.
const WATCHERS: usize = 8;

/// Before the first heartbeat, which shows too who has gone.
const NOTICED: Duration = Duration::from_secs(10);

/// With this a connection that stays open is not taken for one that was closed.
const OPEN_FOR_LONG: &str = "\n[connections]\nheader_timeout = \"1m\"\n";

/// More than all buffers on the way hold.
const ENDLESS: usize = 64 << 20;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::after_a_stream_its_connection_takes_requests", kept_alive),
        trial("http::requests_may_come_before_and_while_a_stream_flows", pipelined),
        trial("http::a_stream_waits_for_the_answers_before_it", behind_much),
        trial("http::a_client_of_http_1_0_is_streamed_to", http_1_0),
        trial("http::a_connection_that_is_to_close_closes_after_its_stream", asked_to_close),
        trial("http::head_has_no_stream", head_alone),
        trial("http::garbage_beside_a_stream_harms_only_itself", garbage),
        trial("http::a_client_that_goes_in_the_middle_of_a_stream_is_noticed", gone),
        trial("http::a_drain_ends_streams_and_their_connections", drained),
    ]
}

/// A connection that is written and read by hand.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn to(gateway: &Gateway) -> Self {
        Self(BufReader::new(TcpStream::connect(gateway.address()).await.unwrap()))
    }

    /// The same with a small buffer for what comes.
    async fn narrow(gateway: &Gateway) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        Self(BufReader::new(socket.connect(gateway.address()).await.unwrap()))
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(SOON, self.0.read_line(&mut line)).await.expect("a line comes").unwrap();
        line
    }

    /// The lines of the next head.
    async fn head(&mut self) -> Vec<String> {
        let mut head = Vec::new();
        loop {
            let line = self.line().await;
            assert!(line.ends_with("\r\n"), "{head:?} {line:?}");
            match line.trim_end() {
                "" => return head,
                line => head.push(line.to_owned()),
            }
        }
    }

    /// The next chunk; empty: the last one.
    async fn chunk(&mut self) -> String {
        let line = self.line().await;
        let length =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("no length: {line:?}"));
        let mut chunk = vec![0; length + 2];
        timeout(SOON, self.0.read_exact(&mut chunk)).await.expect("a chunk comes").unwrap();
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(length);
        String::from_utf8(chunk).unwrap()
    }

    /// All chunks to the last one, with a head before them that says so.
    async fn stream(&mut self) -> String {
        let head = self.head().await;
        assert_eq!(head[0], "HTTP/1.1 200 OK");
        assert!(head.contains(&"transfer-encoding: chunked".to_owned()), "{head:?}");
        assert!(head.iter().any(|it| it.starts_with("date: ")), "{head:?}");
        self.chunks().await
    }

    async fn chunks(&mut self) -> String {
        let mut all = String::new();
        loop {
            match self.chunk().await.as_str() {
                "" => return all,
                chunk => all.push_str(chunk),
            }
        }
    }

    /// An answer whose length is told.
    async fn answer(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let length = head.iter().find_map(|it| it.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().unwrap()];
        timeout(SOON, self.0.read_exact(&mut body)).await.expect("the answer comes").unwrap();
        (head[0].clone(), body)
    }

    /// What comes before the connection is closed.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A connection that is reset is closed too.
        drop(timeout(SOON, self.0.read_to_end(&mut rest)).await.expect("the connection is closed"));
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n")
}

fn events(run: &str) -> String {
    get(&format!("/v1/runs/{run}/events"))
}

fn client(gateway: &Gateway) -> Client {
    Client::new(Protocol::Grpc, gateway.address())
}

/// A run that has ended, as one event stream.
async fn finished(gateway: &Gateway) -> (String, String) {
    let (run, log) = story::finished(client(gateway), "worker_DAG").await;
    let mut wire = Wire::to(gateway).await;
    wire.send(&events(&run)).await;
    let text = wire.stream().await;
    assert!(text.starts_with("retry: ") && text.ends_with("event: close\ndata: {}\n\n"), "{text}");
    assert_eq!(text.matches("\nid: ").count() + usize::from(text.starts_with("id: ")), log.len());
    (run, text)
}

async fn kept_alive() {
    let gateway = shared().await;
    let (run, text) = finished(gateway).await;
    let mut wire = Wire::to(gateway).await;
    for _ in 0..3 {
        wire.send(&events(&run)).await;
        assert_eq!(wire.stream().await, text);
        wire.send(&get("/healthz")).await;
        assert_eq!(wire.answer().await.0, "HTTP/1.1 200 OK");
    }
}

/// All in one write, in whatever pieces it arrives; and while a stream waits for its run, among them one for another stream with
/// more behind it than is read at a time.
async fn pipelined() {
    let gateway = shared().await;
    let (run, text) = finished(gateway).await;
    let requests = [get("/healthz"), events(&run), events(&run), get("/readyz")].concat();
    for cut in [0, 1, requests.len() / 3, requests.len() / 2, requests.len() - 1] {
        let mut wire = Wire::to(gateway).await;
        wire.send(&requests[..cut]).await;
        tokio::task::yield_now().await;
        wire.send(&requests[cut..]).await;
        assert_eq!(wire.answer().await.0, "HTTP/1.1 200 OK");
        assert_eq!(wire.stream().await, text);
        assert_eq!(wire.stream().await, text);
        assert_eq!(wire.answer().await.0, "HTTP/1.1 200 OK");
    }
    let lasting = story::run(client(gateway), "linger").await;
    let mut wire = Wire::to(gateway).await;
    wire.send(&events(&lasting)).await;
    wire.head().await;
    wire.chunk().await;
    wire.send(&[get("/healthz"), events(&run), get("/readyz").repeat(1000)].concat()).await;
    story::caller(client(gateway)).call("CancelRun", json!({"runId": lasting})).await.unwrap();
    assert!(wire.chunks().await.ends_with("event: close\ndata: {}\n\n"));
    assert_eq!(wire.answer().await.0, "HTTP/1.1 200 OK");
    assert_eq!(wire.stream().await, text);
    for _ in 0..1000 {
        assert_eq!(wire.answer().await.0, "HTTP/1.1 200 OK");
    }
}

/// The answer before the stream is larger than all buffers on the way, and is not read before both are asked for.
async fn behind_much() {
    let gateway = Setup::default().config(CHATTER).start().await;
    let (run, log) = story::finished(client(&gateway), "chatter").await;
    let (short, text) = finished(&gateway).await;
    let document = format!("/v1/runs/{run}/events?format=ndjson");
    let mut wire = Wire::narrow(&gateway).await;
    wire.send(&[get(&document), events(&short), get(&document), events(&run)].concat()).await;
    for expected in [&text, ""] {
        let head = wire.head().await;
        let lines = if head.iter().any(|it| it == "transfer-encoding: chunked") {
            wire.chunks().await.lines().count()
        } else {
            let length = head.iter().find_map(|it| it.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            wire.0.read_exact(&mut body).await.unwrap();
            body.split(|it| *it == b'\n').count() - 1
        };
        assert_eq!(lines, log.len());
        let stream = wire.stream().await;
        if expected.is_empty() {
            assert_eq!(stream.matches("\ndata: ").count(), log.len() + 1);
        } else {
            assert_eq!(stream, *expected);
        }
    }
}

async fn http_1_0() {
    let gateway = Setup::default().config(OPEN_FOR_LONG).start().await;
    let (run, text) = finished(&gateway).await;
    for connection in ["", "connection: keep-alive\r\n"] {
        let mut wire = Wire::to(&gateway).await;
        wire.send(&format!("GET /v1/runs/{run}/events HTTP/1.0\r\n{connection}\r\n")).await;
        let head = wire.head().await;
        assert_eq!(head[0], "HTTP/1.0 200 OK");
        assert!(head.iter().all(|it| !it.starts_with("transfer-encoding")), "{head:?}");
        assert_eq!(wire.rest().await, text);
    }
}

async fn asked_to_close() {
    let gateway = Setup::default().config(OPEN_FOR_LONG).start().await;
    let (run, text) = finished(&gateway).await;
    let mut wire = Wire::to(&gateway).await;
    let request =
        format!("GET /v1/runs/{run}/events HTTP/1.1\r\nhost: gateway\r\nconnection: Foo, Close\r\n\r\n");
    wire.send(&request).await;
    let head = wire.head().await;
    assert!(head.contains(&"connection: close".to_owned()), "{head:?}");
    assert_eq!(wire.chunks().await, text);
    assert_eq!(wire.rest().await, "");
}

async fn head_alone() {
    let gateway = shared().await;
    let (run, text) = finished(gateway).await;
    let mut wire = Wire::to(gateway).await;
    wire.send(&events(&run).replace("GET", "HEAD")).await;
    let head = wire.head().await;
    assert_eq!(head[0], "HTTP/1.1 200 OK");
    assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
    wire.send(&events(&run)).await;
    assert_eq!(wire.stream().await, text);
}

/// It is the next request, and answered as such when the stream has ended. Until then no more of it is taken than finds room on
/// the way.
async fn garbage() {
    let gateway = Setup::default().config(&format!("{WORKERS}{OPEN_FOR_LONG}")).start().await;
    for size in [5, 100, ENDLESS] {
        let run = story::run(client(&gateway), "linger").await;
        let mut wire = Wire::to(&gateway).await;
        wire.send(&events(&run)).await;
        wire.head().await;
        assert_eq!(wire.chunk().await, "retry: 1000\n\n");
        let mut garbage = "no \0 request\r\n".repeat(size / 14 + 1);
        garbage.truncate(size);
        let taken = timeout(Duration::from_secs(2), wire.send(&garbage)).await.is_ok();
        assert_eq!(taken, size < ENDLESS);
        story::caller(client(&gateway)).call("CancelRun", json!({"runId": run})).await.unwrap();
        let rest = wire.rest().await;
        let (_, answer) = rest.split_once("event: close\ndata: {}\n\n\r\n0\r\n\r\n").expect(&rest);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{size}: {answer}");
    }
}

/// Whether it closes, ends only its own half of the connection, or does so behind another request. There are no more
/// connections than those, so that the next ones show that they were let go.
async fn gone() {
    let config = format!("{WORKERS}\n[connections]\nmax_connections = {WATCHERS}\n");
    let gateway = Setup::default().config(&config).start().await;
    let run = story::run(client(&gateway), "linger").await;
    let mut kept = Vec::new();
    for (half, more) in
        [(false, ""), (true, ""), (false, "GET / HTTP/1.1\r\nhost: gateway\r\n\r\n"), (false, "")]
    {
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS {
            watchers.push(timeout(NOTICED, admitted(&gateway, &run)).await.expect("there is room"));
        }
        for mut wire in watchers {
            wire.send(more).await;
            if half {
                wire.0.get_mut().shutdown().await.unwrap();
                kept.push(wire);
            }
        }
    }
}

/// A watcher, once there is room for it.
async fn admitted(gateway: &Gateway, run: &str) -> Wire {
    loop {
        let mut wire = Wire::to(gateway).await;
        drop(wire.0.get_mut().write_all(events(run).as_bytes()).await);
        let mut line = String::new();
        match wire.0.read_line(&mut line).await {
            Ok(_) if line.starts_with("HTTP/1.1 200") => {
                wire.head().await;
                wire.chunk().await;
                return wire;
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Without waiting for the connections to be dropped.
async fn drained() {
    let gateway = Setup::default().config(WORKERS).start().await;
    let run = story::run(client(&gateway), "linger").await;
    let mut wires = Vec::new();
    for _ in 0..5 {
        let mut wire = Wire::to(&gateway).await;
        wire.send(&events(&run)).await;
        wire.head().await;
        wire.chunk().await;
        wires.push(wire);
    }
    gateway.signal(Signal::TERM);
    for wire in &mut wires {
        let text = wire.chunks().await;
        assert!(!text.contains("event: close"), "{text}");
        assert_eq!(wire.rest().await, "");
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(!gateway.stderr().contains("outlast the drain"), "{}", gateway.stderr());
}
