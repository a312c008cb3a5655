//! Python, curl, and the linter of protobuf files.

use libtest_mimic::Trial;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    client::{Client, Protocol, SERVICE, normalised},
    gateway::shared,
    needs, story,
    tools::{Tool, clients, output, repository},
    trial,
};

const CURL: Tool = Tool::Program("curl");

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let python = [Tool::Program("python3"), Tool::PythonPackages];
    vec![
        needs(&python, trial("clients::python_grpcio", python_grpcio)),
        needs(&[CURL], trial("clients::curl_reads_events", curl_events)),
        needs(&[CURL], trial("clients::curl_calls_connect_over_both_versions", curl_connect)),
        needs(&[Tool::Program("node"), Tool::NpmPackages], trial("clients::buf_lint", buf_lint)),
    ]
}

async fn client() -> Client {
    Client::new(Protocol::Grpc, shared().await.address())
}

fn curl() -> Command {
    let mut command = Command::new(CURL.path());
    command.args(["--silent", "--show-error", "--noproxy", "*", "--no-buffer", "--max-time", "30"]);
    command
}

/// Stubs made from the project's own protobuf files by `grpcio-tools`.
async fn python_grpcio() {
    let (stubs, packages) = (tempfile::tempdir().unwrap(), Tool::PythonPackages.path());
    let path = std::env::join_paths([stubs.path(), &packages]).unwrap();
    let python = || {
        let mut command = Command::new(Tool::Program("python3").path());
        command.env("PYTHONPATH", &path).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
        command
    };
    let mut generate = python();
    generate.args(["-m", "grpc_tools.protoc", "-I", "proto", "--python_out"]).arg(stubs.path());
    generate.arg("--grpc_python_out").arg(stubs.path());
    generate.args(["rungate/v1/pipeline.proto", "rungate/v1/client_view.proto"]);
    output(generate.current_dir(repository())).await;

    let address = shared().await.address().to_string();
    let told = output(python().arg(clients().join("python_client.py")).arg(address)).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let log = story::log_of(client().await, story::text(&told["runId"])).await;
    assert_eq!(normalised(&told["events"]), log);
    assert_eq!(told["state"], "RUN_STATE_SUCCEEDED");
    for (field, code) in [("error", "NOT_FOUND"), ("streamError", "NOT_FOUND"), ("late", "DEADLINE_EXCEEDED")]
    {
        assert_eq!(told[field]["code"], code, "{told:#}");
    }
}

async fn curl_events() {
    let run = story::run(client().await, "test_pipeline").await;
    let url = shared().await.url(&format!("/v1/runs/{run}/events"));
    let told = output(curl().arg(url)).await;
    let data = told.lines().filter_map(|it| it.strip_prefix("data: ").or(it.strip_prefix("data:")));
    let events: Vec<Value> = data.map(|it| serde_json::from_str(it.trim()).unwrap()).collect();
    let log = story::log_of(client().await, &run).await;
    assert_eq!(normalised(&events[..log.len()].into()), log);
    assert!(told.starts_with("retry: 1000\n") && told.ends_with("event: close\ndata: {}\n\n"), "{told}");
}

async fn curl_connect() {
    let url = shared().await.url(&format!("/{SERVICE}/ListWorkers"));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut command = curl();
        command.args([version, "--header", "content-type: application/json", "--data", "{}"]).arg(&url);
        let told: Value = serde_json::from_str(&output(&mut command).await).unwrap();
        assert!(
            told["workers"].as_array().unwrap().iter().any(|it| it["key"] == "test_pipeline"),
            "{told:#}"
        );
    }
}

async fn buf_lint() {
    let buf = Tool::NpmPackages.path().join("@bufbuild/buf/bin/buf");
    output(Command::new(Tool::Program("node").path()).arg(buf).arg("lint").arg(repository().join("proto")))
        .await;
}
