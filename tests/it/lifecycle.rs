//! The process: how it starts, what it refuses, how it ends, what it finds when it is back.

use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use futures::future::join_all;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;
use tokio::{net::TcpStream, process::Command};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    gateway::{BINARY, Gateway, Setup, WORKERS},
    http, story, trial,
};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("lifecycle::one_session_too_many_is_told", one_session_too_many),
        trial("lifecycle::port_0_takes_a_free_one_and_says_which", announces),
        trial("lifecycle::a_taken_port_is_told", taken_port),
        trial("lifecycle::signals_end_it_well", signals),
        trial("lifecycle::a_drain_ends_watches_so_that_they_can_resume", drain),
        trial("lifecycle::a_drain_answers_requests_under_way", drain_finishes_requests),
        trial("lifecycle::a_drain_refuses_new_connections", drain_refuses_connections),
        trial("lifecycle::a_drain_tells_health_and_ends_in_time", drain_tells_health),
        trial("lifecycle::sessions_are_there_after_a_restart", restart),
        trial("lifecycle::a_kill_leaves_no_session_busy", kill),
        trial("lifecycle::the_configuration_in_force_is_printed", print_config),
        trial("lifecycle::an_unknown_key_names_the_nearest", unknown_keys),
        trial("lifecycle::wrong_usage_is_code_2", wrong_usage),
    ]
}

/// Runs the binary to its end, in an empty folder and with nothing in its environment.
async fn run<S: AsRef<OsStr>>(arguments: &[S], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder.path());
    command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn grpc(gateway: &Gateway) -> Client {
    Client::new(Protocol::Grpc, gateway.address())
}

async fn announces() {
    let (one, other) = (Setup::default().start().await, Setup::default().start().await);
    assert_ne!(one.address().port(), other.address().port());
    for gateway in [&one, &other] {
        assert_ne!(gateway.address().port(), 0);
        assert_eq!(http::get(gateway.address(), "/healthz").await.status, 200);
        assert_eq!(gateway.stdout(), [format!("listening on http://{}", gateway.address())]);
    }
}

async fn taken_port() {
    let gateway = Setup::default().start().await;
    let address = gateway.address().to_string();
    let output = run(&["serve", "--listen", &address], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

async fn signals() {
    for signal in [Signal::TERM, Signal::INT] {
        let gateway = Setup::default().start().await;
        story::finished(grpc(&gateway), "worker_DAG").await;
        gateway.signal(signal);
        assert_eq!(gateway.ended().await.code(), Some(0), "{signal:?}");
        assert!(TcpStream::connect(gateway.address()).await.is_err());
    }
}

/// Watches of a run that goes on are ended by the drain: with UNAVAILABLE where there are codes, without `close` on SSE.
async fn drain() {
    let gateway = Setup::default().config(WORKERS).start().await;
    let run = story::run(grpc(&gateway), "linger").await;
    let mut watches = Vec::new();
    for protocol in PROTOCOLS {
        let mut events = Client::new(protocol, gateway.address()).watch(&run);
        let mut seen = events.take(1).await;
        while seen.last().unwrap()["message"] != "lingering" {
            seen.push(events.expect().await);
        }
        watches.push((protocol, seen, events));
    }
    gateway.signal(Signal::TERM);
    let ends = watches.into_iter().map(async |(protocol, seen, events)| {
        let (rest, failure) = events.until_failure().await;
        let failure = failure.unwrap_or_else(|| panic!("{protocol} ended well: {seen:#?} {rest:#?}"));
        match protocol {
            Protocol::Sse => assert_eq!(failure.code, "cut"),
            _ => assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("unavailable", "DRAINING")),
        }
    });
    join_all(ends).await;
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// A request that has begun is answered although the drain has begun too.
async fn drain_finishes_requests() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gateway = Setup::default().start().await;
    let mut tcp = TcpStream::connect(gateway.address()).await.unwrap();
    let head = "POST /rungate.v1.PipelineService/ListWorkers HTTP/1.1\r\nhost: gateway\r\n\
                content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    // `100 Continue` says that the request is under way.
    let read = tcp.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 100"), "{:?}", String::from_utf8_lossy(&answer[..read]));
    gateway.signal(Signal::TERM);
    gateway.logs("draining").await;
    tcp.write_all(b"{}").await.unwrap();
    answer.clear();
    tcp.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("test_pipeline"), "{answer}");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// While what is under way goes on, nobody new is kept waiting: a load balancer must find another gateway at once.
async fn drain_refuses_connections() {
    let gateway = Setup::default().start().await;
    let channel = Channel::from_shared(gateway.url("")).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    health.message().await.unwrap();
    gateway.signal(Signal::TERM);
    gateway.logs("draining").await;
    let refused = async {
        while TcpStream::connect(gateway.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), refused).await.expect("connections are refused");
}

/// Who watches the health is told first; a connection that does not end by itself is ended.
async fn drain_tells_health() {
    let gateway = Setup::default().config("[connections]\ndrain_timeout = \"500ms\"\n").start().await;
    let channel = Channel::from_shared(gateway.url("")).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let mut health = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    gateway.signal(Signal::TERM);
    let begun = Instant::now();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(gateway.ended().await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn restart() {
    let first = Setup::default().start().await;
    let made = json!({"userId": "ada", "repoUrl": "https://git.example/team/thing"});
    let made = grpc(&first).call("InitRun", made).await.unwrap();
    let session = story::text(&made["sessionId"]);
    story::log_of(grpc(&first), story::text(&made["bootstrapRunId"])).await;
    let read = json!({"sessionId": session});
    let before = grpc(&first).call("GetSession", read.clone()).await.unwrap();
    first.signal(Signal::TERM);
    first.ended().await;
    let second = Setup::default().data(&first.data()).start().await;
    assert_eq!(grpc(&second).call("GetSession", read).await.unwrap(), before);
}

/// The run that held a session when the process was killed has ended; the session is free.
async fn kill() {
    let first = Setup::default().config(WORKERS).start().await;
    let session = story::session(grpc(&first)).await;
    let run = story::start(grpc(&first), &session, "linger").await.unwrap();
    grpc(&first).watch(&run).take(1).await;
    // The claim is stored within the 50 ms that a kill may cost.
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.kill();
    let second = Setup::default().config(WORKERS).data(&first.data()).start().await;
    let client = grpc(&second);
    let read = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(read["session"].get("running"), None, "{read:#}");
    let next = story::start(client, &session, "worker_DAG").await.unwrap();
    story::log_of(client, &next).await;
}

async fn print_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\ndata = \"a\"\n[run]\nretention = \"1m\"\n").unwrap();
    let arguments =
        ["serve", "--print-config", "--config", file.to_str().unwrap(), "--listen", "127.0.0.1:3"];
    let environment = [("RUNGATE_LISTEN", "127.0.0.1:2"), ("RUNGATE_DATA", "b")];
    let output = run(&arguments, &environment).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let config: toml::Table = printed.parse().unwrap();
    assert_eq!(config["listen"].as_str(), Some("127.0.0.1:3"));
    assert_eq!(config["data"].as_str(), Some("b"));
    assert_eq!(config["run"]["retention"].as_str(), Some("1m"));
    // What is printed can be read again, and is in force then.
    std::fs::write(&file, &printed).unwrap();
    let again = run(&["serve", "--print-config", "--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(String::from_utf8(again.stdout).unwrap(), printed);
}

async fn unknown_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rungate.toml");
    for (text, nearest) in
        [("lisen = \"127.0.0.1:0\"", "`listen`"), ("[run]\nretension = \"1m\"", "`run.retention`")]
    {
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--config", file.to_str().unwrap()], &[]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(nearest), "{}", stderr(&output));
    }
    let output = run(&["serve"], &[("RUNGATE_LISTN", "127.0.0.1:0")]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("RUNGATE_LISTEN"), "{}", stderr(&output));
}

async fn wrong_usage() {
    for arguments in [
        ["serve", "--lisen", "127.0.0.1:0"].as_slice(),
        &["serve", "--listen", "nowhere"],
        &["serve", "--config", "/no/such/file.toml"],
        &["sreve"],
    ] {
        let output = run(arguments, &[]).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
    for flag in ["--help", "--version"] {
        let output = run(&[flag], &[]).await;
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(!output.stdout.is_empty());
    }
}

async fn one_session_too_many() {
    let gateway = Setup::default().environment("RUNGATE_SESSION_MOST", "1").start().await;
    let client = Client::new(Protocol::ConnectJson, gateway.address());
    client.call("InitRun", json!({})).await.unwrap();
    let refused = client.call("InitRun", json!({})).await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.reason.as_str()), ("resource_exhausted", "TOO_MANY_SESSIONS"));
}
