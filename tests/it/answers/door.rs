//! The ways by which an answer comes in.

use std::fmt;

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Failure, Protocol, SERVICE},
    needs,
    tools::{Tool, output},
    trial,
};

/// A way to answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Door {
    /// The client of the tests.
    Client(Protocol),
    /// The program `curl`: JSON over Connect.
    Curl,
}

/// Every way, each with a protocol to watch by.
pub(super) const DOORS: [(Door, Protocol); 6] = [
    (Door::Client(Protocol::Grpc), Protocol::Sse),
    (Door::Client(Protocol::GrpcWeb), Protocol::Grpc),
    (Door::Client(Protocol::GrpcWebText), Protocol::GrpcWeb),
    (Door::Client(Protocol::Connect), Protocol::GrpcWebText),
    (Door::Client(Protocol::ConnectJson), Protocol::Connect),
    (Door::Curl, Protocol::ConnectJson),
];

impl Door {
    /// Calls a unary method of the gateway that `client` talks to.
    pub(super) async fn call(self, client: Client, method: &str, request: Value) -> Result<Value, Failure> {
        match self {
            Self::Client(protocol) => client.over(protocol).call(method, request).await,
            Self::Curl => curl(client, method, &request).await,
        }
    }

    /// Answers the tool call `id` with a result.
    pub(super) async fn tool_result(
        self,
        client: Client,
        run: &str,
        id: &str,
        result: Value,
    ) -> Result<Value, Failure> {
        let request = json!({"runId": run, "toolCallId": id, "ok": true, "result": result});
        self.call(client, "SubmitToolResult", request).await
    }

    /// Decides on the approval `id`.
    pub(super) async fn decide(
        self,
        client: Client,
        run: &str,
        id: &str,
        decision: &str,
        reason: &str,
    ) -> Result<Value, Failure> {
        let request = json!({"runId": run, "approvalId": id, "decision": decision, "reason": reason});
        self.call(client, "SubmitApproval", request).await
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(protocol) => protocol.fmt(f),
            Self::Curl => f.write_str("curl"),
        }
    }
}

/// A scenario by every door.
pub(super) fn trials<F>(name: &str, scenario: fn(Door, Protocol) -> F) -> Vec<libtest_mimic::Trial>
where
    F: Future<Output = ()> + 'static,
{
    let trials = DOORS.into_iter().map(|(door, watched)| {
        let trial = trial(format!("answers::{name}::{door}"), move || scenario(door, watched));
        let python = Tool::Program("python3");
        let tools = [python, Tool::Program("curl")];
        needs(if door == Door::Curl { &tools } else { &tools[..1] }, trial)
    });
    trials.collect()
}

async fn curl(client: Client, method: &str, request: &Value) -> Result<Value, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("request.json");
    std::fs::write(&body, request.to_string()).unwrap();
    let mut command = tokio::process::Command::new(Tool::Program("curl").path());
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]);
    command.args(["--header", "content-type: application/json", "--write-out", "\n%{http_code}"]);
    command.arg("--data-binary").arg(format!("@{}", body.display()));
    command.arg(format!("http://{}/{SERVICE}/{method}", client.address()));
    let told = output(&mut command).await;
    let (body, status) = told.rsplit_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {told}"));
    if status == "200" { Ok(body) } else { Err(Failure::of_connect(&body)) }
}
