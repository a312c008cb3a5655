//! A reference orchestrator: it speaks the HTTP API that orchestrators of gateways have, keeps its runs, tool calls, approvals
//! and questions by their rules, and does what its test says.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

use crate::support::http::{Version, Whole, send};

/// A call that does not come within this never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One orchestrator. It ends with this value.
pub(super) struct Reference {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinSet<()>,
}

/// One call of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) path: String,
    pub(super) body: Value,
    pub(super) authorization: Option<String>,
}

/// What is pushed, and where.
#[derive(Debug, Clone)]
pub(super) struct Pusher {
    pub(super) gateway: SocketAddr,
    pub(super) session: String,
    pub(super) run: String,
    pub(super) token: Option<&'static str>,
}

struct Shared {
    state: watch::Sender<Kept>,
}

#[derive(Default)]
struct Kept {
    calls: Vec<Call>,
    /// Runs by the request that started them.
    runs: BTreeMap<String, String>,
    /// Tool calls, approvals and questions with what was submitted first.
    submitted: BTreeMap<String, Value>,
    /// Statuses that are answered before anything is done.
    failures: VecDeque<u16>,
    /// Answers to starts are kept back while this is set.
    holds_starts: bool,
}

impl Reference {
    /// An orchestrator on a free port.
    pub(super) async fn start() -> Self {
        Self::listen(([127, 0, 0, 1], 0).into()).await
    }

    /// An orchestrator at this address.
    pub(super) async fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: watch::Sender::new(Kept::default()) });
        let router = Router::new()
            .route("/internal/invoke", post(invoke))
            .route("/internal/{kind}/{id}/submit", post(submit))
            .route("/internal/runs/{id}/cancel", post(cancel))
            .with_state(shared.clone());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, accepting }
    }

    /// The declaration of the worker `agent`.
    pub(super) fn config(&self, more: &str) -> String {
        self.config_of("agent", more)
    }

    /// The declaration of another worker.
    pub(super) fn config_of(&self, key: &str, more: &str) -> String {
        format!("[workers.{key}]\norchestrator = \"http://{}\"\n{more}\n", self.address)
    }

    /// Crashes: connections break, and nobody listens any more.
    pub(super) async fn crash(&mut self) {
        self.accepting.shutdown().await;
    }

    /// The next calls are answered with these statuses, one each.
    pub(super) fn fail(&self, statuses: &[u16]) {
        self.shared.state.send_modify(|it| it.failures.extend(statuses));
    }

    /// No more calls fail.
    pub(super) fn recover(&self) {
        self.shared.state.send_modify(|it| it.failures.clear());
    }

    /// Starts are done, but their answers kept back, or not any more.
    pub(super) fn hold_starts(&self, hold: bool) {
        self.shared.state.send_modify(|it| it.holds_starts = hold);
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.state.borrow().calls.clone()
    }

    /// Waits until there are `count` calls of a path; gives them.
    pub(super) async fn called(&self, path: &str, count: usize) -> Vec<Call> {
        let mut state = self.shared.state.subscribe();
        let of_path =
            |kept: &Kept| kept.calls.iter().filter(|it| it.path == path).cloned().collect::<Vec<_>>();
        let enough = timeout(PATIENCE, state.wait_for(|it| of_path(it).len() >= count)).await;
        assert!(enough.is_ok(), "no {count} calls of {path} in {:#?}", self.calls());
        of_path(&self.shared.state.borrow())
    }

    /// What was submitted first for a tool call, an approval or a question.
    pub(super) async fn submitted(&self, kind: &str, id: &str) -> Value {
        let path = format!("/internal/{kind}/{id}/submit");
        let mut state = self.shared.state.subscribe();
        let there = timeout(PATIENCE, state.wait_for(|it| it.submitted.contains_key(&path))).await;
        assert!(there.is_ok(), "nothing was submitted to {path}: {:#?}", self.calls());
        self.shared.state.borrow().submitted[&path].clone()
    }

    /// Waits for the start of the run `run`; gives the orchestrator's name of it.
    pub(super) async fn started(&self, run: &str) -> String {
        let mut state = self.shared.state.subscribe();
        let there = timeout(PATIENCE, state.wait_for(|it| it.runs.contains_key(run))).await;
        assert!(there.is_ok(), "{run} was not started: {:#?}", self.calls());
        self.shared.state.borrow().runs[run].clone()
    }
}

impl Pusher {
    /// Pushes an event; gives the answer.
    pub(super) async fn try_push(&self, event: Value) -> Whole {
        self.post(&self.body(event)).await
    }

    /// The same where the gateway may be away.
    pub(super) async fn attempt(&self, event: Value) -> Option<Whole> {
        self.try_post(&self.body(event)).await.ok()
    }

    fn body(&self, mut event: Value) -> Value {
        if event.get("run_id").is_none() {
            event["run_id"] = json!(self.run);
        }
        event["ts"] = json!(1);
        json!({"session_id": self.session, "event": event})
    }

    /// Posts a body.
    pub(super) async fn post(&self, body: &Value) -> Whole {
        self.try_post(body).await.unwrap()
    }

    async fn try_post(&self, body: &Value) -> Result<Whole, Box<dyn std::error::Error + Send + Sync>> {
        let body = Full::from(Bytes::from(body.to_string()));
        let mut request = http::Request::post("/internal/send").header("content-type", "application/json");
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        send(self.gateway, Version::Http1, request.body(body)?).await?.whole().await
    }

    /// Pushes an event that is taken; gives whether it was delivered.
    pub(super) async fn push(&self, event: Value) -> bool {
        let answer = self.try_push(event.clone()).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["ok"], true);
        answer["delivered"].as_bool().unwrap()
    }

    /// Pushes an event that is refused with this status; gives the reason and the text.
    pub(super) async fn refused(&self, event: Value, status: u16) -> (String, String) {
        refusal(&self.try_push(event).await, status)
    }
}

/// The reason and the text of a refusal.
pub(super) fn refusal(answer: &Whole, status: u16) -> (String, String) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], body["message"]);
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("reason"), text("error"))
}

impl Shared {
    /// Notes a call; gives the failure that is due.
    fn note(&self, path: &str, headers: &HeaderMap, body: &Value) -> Option<Response> {
        let authorization = headers.get(header::AUTHORIZATION).map(|it| it.to_str().unwrap().to_owned());
        let mut failure = None;
        self.state.send_modify(|it| {
            it.calls.push(Call { path: path.to_owned(), body: body.clone(), authorization });
            failure = it.failures.pop_front();
        });
        let status = StatusCode::from_u16(failure?).unwrap();
        Some((status, Json(json!({"error": "a secret of the orchestrator"}))).into_response())
    }
}

async fn invoke(State(shared): State<Arc<Shared>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(failure) = shared.note("/internal/invoke", &headers, &body) {
        return failure;
    }
    let request = body["request_id"].as_str().unwrap().to_owned();
    let mut run = String::new();
    shared.state.send_modify(|it| {
        let count = it.runs.len();
        // Its names are short, as orchestrators' are.
        run = it.runs.entry(request.clone()).or_insert_with(|| format!("run_{:08x}", count + 1)).clone();
    });
    drop(shared.state.subscribe().wait_for(|it| !it.holds_starts).await);
    Json(json!({"run_id": run, "session_id": body["session_id"], "agent_id": body["agent_id"]}))
        .into_response()
}

/// The first counts; a second gets what the first said.
async fn submit(
    State(shared): State<Arc<Shared>>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let path = format!("/internal/{kind}/{id}/submit");
    if let Some(failure) = shared.note(&path, &headers, &body) {
        return failure;
    }
    let sound = match kind.as_str() {
        "tool_calls" => matches!(body["status"].as_str(), Some("SUCCEEDED" | "FAILED")),
        "approvals" => matches!(body["decision"].as_str(), Some("approve" | "reject")),
        _ => kind == "inputs",
    };
    if !sound {
        return (StatusCode::BAD_REQUEST, Json(json!({"error": "bad body"}))).into_response();
    }
    shared.state.send_modify(|it| {
        it.submitted.entry(path).or_insert(body);
    });
    Json(json!({"ok": true})).into_response()
}

async fn cancel(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let path = format!("/internal/runs/{id}/cancel");
    if let Some(failure) = shared.note(&path, &headers, &Value::Null) {
        return failure;
    }
    Json(json!({"run_id": id, "status": "CANCELLED", "message": "cancelled"})).into_response()
}
