//! The ways by which an answer comes in.

use std::fmt;

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Failure, Protocol},
    curl, needs,
    tools::Tool,
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
            Self::Curl => curl::call(client.address(), method, &request).await,
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
