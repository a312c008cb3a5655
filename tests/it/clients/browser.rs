//! A page in headless Chromium, of another origin than the gateway.

use std::{path::Path, time::Duration};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, sync::OnceCell};

use crate::support::{
    client::{Client, Protocol, normalised},
    gateway::shared,
    needs, patient_trial,
    proxy::CuttingProxy,
    story,
    tools::{BROWSERS, Tool, clients, output},
};

const TOOLS: [Tool; 3] = [Tool::Program("node"), Tool::NpmPackages, Tool::Chromium];

/// A browser takes its time to start, more so beside others.
const PATIENCE: Duration = Duration::from_secs(120);

/// The page, made once.
static PAGE: OnceCell<TempDir> = OnceCell::const_new();

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        browser("connect_web_binary", || conversation("connect", true)),
        browser("connect_web_json", || conversation("connect", false)),
        browser("connect_web_over_grpc_web", || conversation("connectGrpcWeb", true)),
        browser("grpc_web_text", || grpc_web("text")),
        browser("grpc_web_binary", || grpc_web("binary")),
        browser("event_source_reconnects_and_is_stopped", event_source),
        browser("a_strangers_page_reads_nothing", stranger),
    ]
}

fn browser<F>(name: &str, scenario: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    needs(&TOOLS, patient_trial(format!("clients::browser_{name}"), PATIENCE, scenario))
}

/// Calls a function of the page.
async fn in_page(function: &str, options: Value) -> Value {
    let _turn = BROWSERS.acquire().await.unwrap();
    let page = PAGE.get_or_init(build).await;
    let mut command = script("browser.mjs", page.path());
    command.arg(Tool::Chromium.path()).arg(function).arg(options.to_string());
    serde_json::from_str(&output(&mut command).await).unwrap()
}

async fn build() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    output(&mut script("build.mjs", folder.path())).await;
    folder
}

fn script(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(Tool::Program("node").path());
    command.arg(clients().join(name)).arg(folder);
    command
}

/// The gateway under the name that makes it the same site as the page, so that its cookie is kept.
async fn url() -> String {
    format!("http://localhost:{}", shared().await.address().port())
}

async fn check_events(told: &Value) {
    let client = Client::new(Protocol::Grpc, shared().await.address());
    let log = story::log_of(client, story::text(&told["runId"])).await;
    assert_eq!(normalised(&told["events"]), log);
}

async fn conversation(function: &str, binary: bool) {
    let told = in_page(function, json!({"url": url().await, "binary": binary})).await;
    check_events(&told).await;
    assert_eq!(told["state"], "SUCCEEDED");
    for field in ["error", "streamError"] {
        assert_eq!(told[field]["code"], "NotFound", "{told:#}");
        assert_eq!(told[field]["details"], json!(["google.rpc.ErrorInfo"]));
    }
    assert_eq!(told["late"]["code"], "DeadlineExceeded");
}

async fn grpc_web(format: &str) {
    let told = in_page("grpcWeb", json!({"url": url().await, "format": format})).await;
    check_events(&told).await;
    for field in ["error", "streamError"] {
        assert_eq!(told[field]["code"], 5, "{told:#}");
        assert!(story::text(&told[field]["message"]).ends_with("not found"));
    }
}

/// The connection is cut after three events. The browser comes back by itself with the last cursor, misses nothing and
/// sees nothing twice; after the end it comes back once more and is stopped by 204.
async fn event_source() {
    let client = Client::new(Protocol::Sse, shared().await.address());
    let run = story::run(client, "test_pipeline").await;
    let proxy = CuttingProxy::start(shared().await.address(), "\nid: ", 4).await;
    let url = format!("http://{}/v1/runs/{run}/events", proxy.address());
    let told = in_page("eventSource", json!({"url": url})).await;
    let log = story::log_of(client, &run).await;
    assert_eq!(normalised(&told["events"]), log);
    let cursors: Vec<_> = log.iter().map(story::cursor).collect();
    assert_eq!(told["ids"], json!(cursors));
    assert_eq!((&told["opened"], &told["closes"]), (&json!(2), &json!(1)), "{told:#}");
    let sent = proxy.sent().to_lowercase();
    let resumed: Vec<_> = sent.lines().filter_map(|it| it.strip_prefix("last-event-id: ")).collect();
    let last = cursors[cursors.len() - 1].to_lowercase();
    assert_eq!(resumed.len(), 2, "{sent}");
    assert_eq!(resumed[1], last);
}

/// A page of an origin that is not allowed is told nothing by the browser, whatever the gateway answers.
async fn stranger() {
    let url = url().await + "/healthz";
    let page = |host: &str| in_page("fetchText", json!({"url": url, "host": host}));
    assert_eq!(page("127.0.0.1").await, "refused: TypeError");
    assert!(story::text(&page("localhost").await).contains("ok"));
}
