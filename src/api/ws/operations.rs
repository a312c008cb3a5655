//! From a client's message to the operation of the gateway, and from its outcome to what the client is told.

use serde_json::{Map, Value};

use super::{
    message::{AgentInvoke, ClientMessage, Hello, Told, of_run},
    watches::NewWatch,
};
use crate::{
    gateway::{
        Caller, Gateway, OpenSession, OperationError, SessionRuns, StartRun, SubmitApproval, SubmitRunInput,
        SubmitToolResult, WatchRun,
    },
    model::SessionId,
    wire::RunFacts,
};

/// An operation that has had its effect.
pub(super) enum Done {
    /// The socket has its session now.
    Greeted(Box<Greeted>),
    /// Anything else.
    Answered(Answered),
}

/// What a `hello` has led to.
pub(super) struct Greeted {
    pub(super) session_id: SessionId,
    /// The session's runs from now on.
    pub(super) runs: SessionRuns,
    /// The resumed runs in the client's order: each to be watched, or with what is wrong.
    pub(super) resumed: Vec<(String, Result<Opened, Told>)>,
}

/// What any other message has led to.
#[derive(Default)]
pub(super) struct Answered {
    /// Fields of the `ack`.
    pub(super) returned: Map<String, Value>,
    /// A run that the socket is to watch.
    pub(super) opened: Option<Opened>,
    /// The message asked for nothing but the watch: one that cannot be had is an error.
    pub(super) only_watch: bool,
}

/// A run that can be watched.
pub(super) struct Opened {
    pub(super) watch: NewWatch,
    /// Where its log ended.
    pub(super) last_sequence: u64,
}

/// Finds or makes the session, and opens the runs that are resumed.
pub(super) async fn greet(gateway: Gateway, caller: Caller, hello: Hello) -> Result<Done, Told> {
    let request = OpenSession { session_id: hello.session_id, user_id: hello.user_id };
    let session = gateway.open_session(&caller, request).await.map_err(told)?;
    let session_id = session.session_id.clone();
    tracing::debug!(%session_id, client_meta = ?hello.client_meta, "a client said hello");
    let runs = gateway.follow_session(&session_id).await;
    let mut resumed = Vec::with_capacity(hello.resume.len());
    for (run_id, after) in hello.resume {
        let opened = open(&gateway, &run_id, after).await;
        resumed.push((run_id, opened));
    }
    Ok(Done::Greeted(Box::new(Greeted { session_id, runs, resumed })))
}

/// Does what a message wants that needs nothing of the socket but its session.
pub(super) async fn perform(
    gateway: Gateway,
    session_id: SessionId,
    request_id: Option<String>,
    message: ClientMessage,
) -> Result<Done, Told> {
    let answered = match message {
        ClientMessage::AgentInvoke(invoke) => start(&gateway, &session_id, request_id, invoke).await?,
        ClientMessage::SubmitInput { run_id, input, input_request_id } => {
            submit_input(&gateway, &run_id, input, input_request_id, request_id).await?
        }
        ClientMessage::ToolResult { run_id, tool_call_id, ok, result, error } => {
            let mut answered = named(&run_id);
            answered.returned.insert("tool_call_id".to_owned(), tool_call_id.as_str().into());
            let request = SubmitToolResult { run_id, tool_call_id, ok, result, error };
            gateway.submit_tool_result(request).await.map_err(told)?;
            answered
        }
        ClientMessage::ApprovalDecision { run_id, approval_id, approve, reason } => {
            let mut answered = named(&run_id);
            answered.returned.insert("approval_id".to_owned(), approval_id.as_str().into());
            let request = SubmitApproval { run_id, approval_id, approved: Some(approve), reason };
            gateway.submit_approval(request).await.map_err(told)?;
            answered
        }
        ClientMessage::CancelRun { run_id, reason } => {
            let state = gateway.cancel_run(&run_id, &reason).await.map_err(told)?;
            let mut answered = named(&run_id);
            answered.returned.insert("state".to_owned(), state.name().into());
            answered
        }
        ClientMessage::Watch { run_id, after } => {
            let opened = open(&gateway, &run_id, after).await?;
            Answered { only_watch: true, ..watched(opened, None) }
        }
        // What the socket does by itself.
        ClientMessage::Hello(_) | ClientMessage::Unwatch { .. } | ClientMessage::Ping => Answered::default(),
    };
    Ok(Done::Answered(answered))
}

/// Opens a run to be watched.
pub(super) async fn open(gateway: &Gateway, run_id: &str, after: String) -> Result<Opened, Told> {
    let request = WatchRun { run_id: run_id.to_owned(), after, compact: false };
    let watch = gateway.watch_run(request).await.map_err(told)?;
    let run = gateway.get_run(run_id).await.map_err(told)?;
    let (facts, state, last_sequence) = (RunFacts::of(&run), run.state, run.last_sequence);
    let watch = NewWatch { run_id: run.run_id, watch, facts, state, request_id: None };
    Ok(Opened { watch, last_sequence })
}

async fn start(
    gateway: &Gateway,
    session_id: &SessionId,
    request_id: Option<String>,
    invoke: AgentInvoke,
) -> Result<Answered, Told> {
    let request = StartRun {
        session_id: session_id.to_string(),
        pipeline_id: invoke.agent_id,
        params: invoke.params,
        idempotency_key: invoke.idempotency_key,
        if_busy: invoke.if_busy,
        cancel_on_disconnect: invoke.cancel_on_disconnect,
    };
    let run_id = gateway.start_run(&Caller::default(), request).await.map_err(told)?;
    // A key may stand for a run that is no longer kept.
    Ok(match open(gateway, &run_id.to_string(), String::new()).await {
        Ok(opened) => watched(opened, request_id),
        Err(_) => named(&run_id.to_string()),
    })
}

/// The person's input goes to the run that is named, whichever session that is of: who knows a run may use it.
async fn submit_input(
    gateway: &Gateway,
    run_id: &str,
    input: String,
    input_request_id: String,
    request_id: Option<String>,
) -> Result<Answered, Told> {
    let run = gateway.get_run(run_id).await.map_err(told)?;
    let (session_id, named_run) = (run.session_id.to_string(), run.run_id.to_string());
    let request = SubmitRunInput { session_id, run_id: named_run, input, input_request_id };
    let handled_by = gateway.submit_run_input(&Caller::default(), request).await.map_err(told)?;
    if handled_by == run.run_id {
        return Ok(named(run_id));
    }
    let opened = open(gateway, &handled_by.to_string(), String::new()).await?;
    Ok(watched(opened, request_id))
}

fn watched(mut opened: Opened, request_id: Option<String>) -> Answered {
    opened.watch.request_id = request_id;
    let mut returned = of_run(opened.watch.run_id);
    returned.insert("state".to_owned(), opened.watch.state.name().into());
    Answered { returned, opened: Some(opened), only_watch: false }
}

/// The answer that only names the run, as the client did.
fn named(run_id: &str) -> Answered {
    let returned = [("run_id".to_owned(), run_id.trim().into())].into_iter().collect();
    Answered { returned, ..Answered::default() }
}

fn told(error: impl OperationError) -> Told {
    Told::of(error.as_cause())
}
