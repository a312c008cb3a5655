//! What is kept in the run's log beside its events, so that a gateway that is restarted knows what the one before it knew.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    model::{Digest, RequestKey, limits},
    runner::ToolCall,
};

/// What is kept with one event.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memo {
    /// The push that the event is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_id: Option<String>,
    /// The orchestrator's name of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) their_run: Option<String>,
    /// A call that the event is about and tells too little of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<NotedCall>,
    /// Answers that the orchestrator was told before the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) told: Vec<RequestKey>,
}

/// A call of a tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NotedCall {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) args: Value,
    pub(super) fate: Fate,
}

/// What becomes of a call that is not asked of the client at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// It is made when somebody has approved it.
    NeedsApproval,
    /// It is made on an MCP server of the gateway.
    OnServer,
    /// It is not made.
    Blocked,
}

/// The pushes and requests that were applied: the latest [`limits::REMEMBERED_PUSHES`].
#[derive(Debug, Default)]
pub(super) struct Applied {
    known: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Memo {
    /// As an event carries it; nothing where there is nothing to keep.
    pub(super) fn boxed(&self) -> Option<Box<Value>> {
        let value = serde_json::to_value(self).unwrap_or_default();
        value.as_object().is_some_and(|it| !it.is_empty()).then(|| Box::new(value))
    }

    /// What an event carries.
    pub(super) fn read(memo: Option<&Value>) -> Self {
        memo.and_then(|it| Self::deserialize(it).ok()).unwrap_or_default()
    }
}

impl NotedCall {
    pub(super) fn new(call: &ToolCall, fate: Fate) -> Self {
        let args = if fate == Fate::NeedsApproval { call.args.clone() } else { Value::Null };
        Self { id: call.id.clone(), name: call.name.clone(), args, fate }
    }
}

impl From<NotedCall> for ToolCall {
    fn from(NotedCall { id, name, args, .. }: NotedCall) -> Self {
        Self { id, name, args }
    }
}

impl Applied {
    /// True when this push was applied.
    pub(super) fn has_push(&self, event_id: &str) -> bool {
        self.known.contains(&of_push(event_id))
    }

    /// True when this request was made.
    pub(super) fn has_request(&self, request: &RequestKey) -> bool {
        self.known.contains(&of_request(request))
    }

    pub(super) fn add_push(&mut self, event_id: &str) {
        self.add(of_push(event_id));
    }

    pub(super) fn add_request(&mut self, request: &RequestKey) {
        self.add(of_request(request));
    }

    fn add(&mut self, digest: Digest) {
        if !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > limits::REMEMBERED_PUSHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn of_push(event_id: &str) -> Digest {
    Digest::of(&[b"push", event_id.as_bytes()])
}

fn of_request(request: &RequestKey) -> Digest {
    Digest::of(&[request.kind.name().as_bytes(), b"request", request.id.0.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_pushes_are_remembered() {
        let mut applied = Applied::default();
        for place in 0..=limits::REMEMBERED_PUSHES {
            assert!(!applied.has_push(&place.to_string()));
            applied.add_push(&place.to_string());
            applied.add_push(&place.to_string());
        }
        assert!(!applied.has_push("0"), "the oldest is forgotten");
        assert!(applied.has_push("1") && applied.has_push(&limits::REMEMBERED_PUSHES.to_string()));
    }

    #[test]
    fn nothing_is_kept_where_there_is_nothing_to_keep() {
        assert_eq!(Memo::default().boxed(), None);
        let memo = Memo { event_id: Some("e".to_owned()), ..Memo::default() };
        assert_eq!(Memo::read(memo.boxed().as_deref()).event_id.as_deref(), Some("e"));
    }
}
