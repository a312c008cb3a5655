//! What the log of a run tells of its orchestrator: the way back after a restart of the gateway.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::memo::{Applied, Fate, Memo};
use crate::{
    model::{Closing, Event, EventKind, RequestId, RequestKey, RequestKind},
    runner::{ToolCall, ToolError, pending::outcome, tool::permission},
};

/// What is known from the log. Filled event by event.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// The orchestrator's name of the run.
    pub(super) their_run: Option<String>,
    /// Pushes and requests that were applied.
    pub(super) applied: Applied,
    /// What the orchestrator waits for, by what it asked. Bounded by the requests of a run that may be open, because answers
    /// that it was told are taken out.
    pub(super) due: BTreeMap<RequestKey, Due>,
    /// Calls that wait for an approval which the gateway asked for, by the approval.
    calls: BTreeMap<RequestId, (RequestKey, ToolCall)>,
}

/// How far something is that an orchestrator waits for.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// The client is asked.
    Asked {
        /// When nobody waits any more.
        deadline: Timestamp,
    },
    /// The client is asked whether the call may be made.
    Permit { approval: RequestKey, deadline: Timestamp, call: ToolCall },
    /// The call may be made.
    Permitted(ToolCall),
    /// The call is not made, or nobody knows how it ended.
    NotMade(ToolError),
    /// The client was asked, and this came of it.
    Ended(Closing),
}

impl Recall {
    /// Takes up the next event of the log.
    pub(super) fn take(&mut self, event: &Event) {
        let memo = Memo::read(event.memo.as_deref());
        if let Some(event_id) = &memo.event_id {
            self.applied.add_push(event_id);
        }
        self.their_run = memo.their_run.or(self.their_run.take());
        memo.told.iter().for_each(|it| drop(self.due.remove(it)));
        match (&event.kind, memo.call) {
            (EventKind::ApprovalRequired { approval_id, expires_at, .. }, Some(call)) => {
                let (approval, call) = (key(RequestKind::Approval, approval_id), ToolCall::from(call));
                let tool = RequestKey::new(RequestKind::Tool, call.id.clone());
                self.calls.insert(approval_id.clone(), (tool.clone(), call.clone()));
                self.ask(tool, Due::Permit { approval, deadline: *expires_at, call });
            }
            (_, Some(call)) => {
                let error = match call.fate {
                    Fate::Blocked => ToolError::Blocked,
                    // It is not made twice.
                    _ => ToolError::Failed("the gateway ended before the call did".to_owned()),
                };
                self.ask(RequestKey::new(RequestKind::Tool, call.id), Due::NotMade(error));
            }
            (EventKind::ToolRequest { tool_call_id, deadline, .. }, None) => {
                self.ask(key(RequestKind::Tool, tool_call_id), Due::Asked { deadline: *deadline });
            }
            (EventKind::ApprovalRequired { approval_id, expires_at, .. }, None) => {
                self.ask(key(RequestKind::Approval, approval_id), Due::Asked { deadline: *expires_at });
            }
            (EventKind::InputRequired { request_id, deadline, .. }, None) => {
                let deadline = deadline.unwrap_or(Timestamp::MAX);
                self.ask(key(RequestKind::Input, request_id), Due::Asked { deadline });
            }
            (EventKind::Closed { request, closing }, None) => self.close(request, closing),
            _ => {}
        }
    }

    fn ask(&mut self, request: RequestKey, due: Due) {
        self.applied.add_request(&request);
        self.due.insert(request, due);
    }

    fn close(&mut self, request: &RequestKey, closing: &Closing) {
        let call = match request.kind {
            RequestKind::Approval => self.calls.remove(&request.id),
            _ => None,
        };
        let Some((tool, call)) = call else {
            if let Some(due) = self.due.get_mut(request) {
                *due = Due::Ended(closing.clone());
            }
            return;
        };
        let due = match permission(outcome(closing.clone())) {
            Ok(()) => Due::Permitted(call),
            Err(error) => Due::NotMade(error),
        };
        self.due.insert(tool, due);
    }
}

fn key(kind: RequestKind, id: &RequestId) -> RequestKey {
    RequestKey { kind, id: id.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{Answer, Draft, RunId},
        runner::orchestrator::memo::NotedCall,
    };

    fn event(kind: EventKind, memo: Memo) -> Event {
        let Draft { message, kind, memo, .. } = Draft::new(kind, "").with_memo(memo.boxed());
        let run_id = RunId::new(Uuid::nil());
        let time = Timestamp::UNIX_EPOCH;
        Event { run_id, sequence: 1, time, message, progress_percent: 0, view: None, kind, memo }
    }

    fn tool_request(id: &str) -> EventKind {
        let (tool_call_id, tool_name) = (RequestId(id.to_owned()), "t".to_owned());
        EventKind::ToolRequest { tool_call_id, tool_name, args: Value::Null, deadline: Timestamp::MAX }
    }

    fn closed(kind: RequestKind, id: &str, answer: Answer) -> EventKind {
        EventKind::Closed { request: RequestKey::new(kind, id), closing: Closing::Answered(answer) }
    }

    #[test]
    fn an_answer_is_due_until_it_was_told() {
        let mut recall = Recall::default();
        let tool = RequestKey::new(RequestKind::Tool, "1");
        recall.take(&event(tool_request("1"), Memo { event_id: Some("e".into()), ..Memo::default() }));
        assert!(matches!(recall.due[&tool], Due::Asked { .. }));
        assert!(recall.applied.has_push("e") && recall.applied.has_request(&tool));
        recall.take(&event(closed(RequestKind::Tool, "1", Answer::Tool(json!(7))), Memo::default()));
        assert!(matches!(recall.due[&tool], Due::Ended(Closing::Answered(_))));
        recall.take(&event(EventKind::Log, Memo { told: vec![tool.clone()], ..Memo::default() }));
        assert!(recall.due.is_empty() && recall.applied.has_request(&tool));
    }

    #[test]
    fn a_call_that_needs_an_approval_is_known_with_its_arguments() {
        let mut recall = Recall::default();
        let tool = RequestKey::new(RequestKind::Tool, "1");
        let call = ToolCall { id: "1".into(), name: "t".into(), args: json!({"a": 1}) };
        let ask = EventKind::ApprovalRequired {
            approval_id: RequestId("ap_1".into()),
            tool_call_id: "1".into(),
            tool_name: "t".into(),
            summary: String::new(),
            expires_at: Timestamp::MAX,
        };
        let call = Some(NotedCall::new(&call, Fate::NeedsApproval));
        recall.take(&event(ask, Memo { call, ..Memo::default() }));
        assert!(matches!(&recall.due[&tool], Due::Permit { call, .. } if call.args == json!({"a": 1})));
        let approved = Answer::Approved { reason: String::new() };
        recall.take(&event(closed(RequestKind::Approval, "ap_1", approved), Memo::default()));
        assert!(matches!(&recall.due[&tool], Due::Permitted(call) if call.args == json!({"a": 1})));
        recall.take(&event(tool_request("1"), Memo::default()));
        assert!(matches!(recall.due[&tool], Due::Asked { .. }));
    }

    #[test]
    fn the_orchestrators_name_of_the_run_is_found_again() {
        let mut recall = Recall::default();
        recall.take(&event(EventKind::Log, Memo { their_run: Some("run_1".into()), ..Memo::default() }));
        recall.take(&event(EventKind::Log, Memo::default()));
        assert_eq!(recall.their_run.as_deref(), Some("run_1"));
    }
}
