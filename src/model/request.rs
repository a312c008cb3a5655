//! Requests: what a worker asks of the client and waits for. Each is answered once, whoever answers and however often.
//!
//! ```text
//! (ask) ──> OPEN ──answer──────> ANSWERED   (the same answer again: taken, and nothing happens)
//!             ├───deadline─────> CLOSED
//!             └───withdrawal───> CLOSED     (its worker waits no more)
//! ```

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digest, EventKind, Refused, RequestId, RunState, limits};

/// What a worker asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Words of the person.
    Input {
        /// The question.
        prompt: String,
    },
    /// The result of a tool that the client has.
    Tool {
        /// The tool.
        tool_name: String,
        /// What the tool is given.
        args: Value,
    },
    /// Whether something may be done.
    Approval {
        /// The tool call that is to be approved; may be empty.
        tool_call_id: String,
        /// The tool that is to be approved.
        tool_name: String,
        /// What would be done.
        summary: String,
    },
}

/// What kind of answer a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Words of the person.
    Input,
    /// The result of a tool.
    Tool,
    /// A decision.
    Approval,
}

/// Names a request within its run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestKey {
    /// What kind of answer it waits for. Each kind has ids of its own.
    pub kind: RequestKind,
    /// Its name.
    pub id: RequestId,
}

/// What a client answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Words of the person.
    Input(String),
    /// What the tool gave back.
    Tool(Value),
    /// Why the tool gave nothing back.
    ToolFailed(String),
    /// It may be done.
    Approved {
        /// Why; may be empty.
        reason: String,
    },
    /// It may not be done.
    Rejected {
        /// Why; may be empty.
        reason: String,
    },
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// With an answer.
    Answered(Answer),
    /// Nobody answered in time.
    Expired,
    /// Its worker waits no more.
    Withdrawn,
}

/// What a [`Closing`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The request ended by it.
    Now,
    /// The request had been given this very answer.
    Before,
}

/// All requests of a run, from its first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requests {
    /// Shared by the copies of a run that its writer makes; at most [`limits::REQUESTS_PER_RUN`].
    all: Arc<BTreeMap<RequestKey, Asked>>,
    /// Which of them are open, in the order in which they were asked; at most [`limits::OPEN_REQUESTS`].
    open: Vec<RequestKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Open,
    Answered(Digest),
    Closed,
}

impl Request {
    /// What kind of answer it waits for.
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Input { .. } => RequestKind::Input,
            Self::Tool { .. } => RequestKind::Tool,
            Self::Approval { .. } => RequestKind::Approval,
        }
    }
}

impl RequestKind {
    /// The kind's name on every protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Tool => "tool",
            Self::Approval => "approval",
        }
    }
}

impl RequestKey {
    /// The request `id` of a kind.
    pub fn new(kind: RequestKind, id: impl Into<String>) -> Self {
        Self { kind, id: RequestId(id.into()) }
    }
}

impl Answer {
    /// What kind of request it answers.
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Input(_) => RequestKind::Input,
            Self::Tool(_) | Self::ToolFailed(_) => RequestKind::Tool,
            Self::Approved { .. } | Self::Rejected { .. } => RequestKind::Approval,
        }
    }

    /// What tells it from another answer. The order of an object's fields does not count, nor
    /// whether a whole number is written with a point: that is lost on some protocols.
    fn digest(&self) -> Digest {
        let (name, text) = match self {
            Self::Input(text) => ("input", text.clone()),
            Self::Tool(value) => ("tool", canonical(value).to_string()),
            Self::ToolFailed(error) => ("tool_failed", error.clone()),
            Self::Approved { reason } => ("approved", reason.clone()),
            Self::Rejected { reason } => ("rejected", reason.clone()),
        };
        Digest::of(&[name.as_bytes(), text.as_bytes()])
    }
}

impl Requests {
    /// A worker asks.
    pub fn ask(&mut self, key: RequestKey) -> Result<(), Refused> {
        if self.all.contains_key(&key) {
            return Err(Refused::RequestIdUsed(key.id));
        }
        if self.all.len() >= limits::REQUESTS_PER_RUN || self.open.len() >= limits::OPEN_REQUESTS {
            return Err(Refused::TooManyOpen);
        }
        Arc::make_mut(&mut self.all).insert(key.clone(), Asked::Open);
        self.open.push(key);
        Ok(())
    }

    /// Ends a request: of all that come, the first counts.
    pub fn close(&mut self, key: &RequestKey, closing: &Closing) -> Result<Closed, Refused> {
        let new = match closing {
            Closing::Answered(answer) if answer.kind() != key.kind => return Err(Refused::NotWaiting),
            Closing::Answered(answer) => Asked::Answered(answer.digest()),
            Closing::Expired | Closing::Withdrawn => Asked::Closed,
        };
        match self.all.get(key) {
            Some(Asked::Open) => {}
            Some(Asked::Answered(before)) if new == Asked::Answered(*before) => return Ok(Closed::Before),
            Some(Asked::Answered(_)) if matches!(closing, Closing::Answered(_)) => {
                return Err(Refused::AnsweredOtherwise);
            }
            _ => return Err(Refused::NotWaiting),
        }
        Arc::make_mut(&mut self.all).insert(key.clone(), new);
        self.open.retain(|it| it != key);
        Ok(Closed::Now)
    }

    /// The kind of the request that has waited longest.
    pub fn awaited(&self) -> Option<RequestKind> {
        self.open.first().map(|it| it.kind)
    }

    /// The open request of a kind that has waited longest.
    pub fn oldest(&self, kind: RequestKind) -> Option<&RequestKey> {
        self.open.iter().find(|it| it.kind == kind)
    }

    /// Those that wait, in the order in which they were asked.
    pub fn open(&self) -> &[RequestKey] {
        &self.open
    }

    /// Takes up what an event of the log tells of requests. Whoever folds a log so knows what its run knows.
    pub fn replay(&mut self, kind: &EventKind) {
        let asked = |kind, id: &RequestId| RequestKey { kind, id: id.clone() };
        // The log tells nothing that was refused.
        match kind {
            EventKind::State { state: RunState::Queued, .. } => self.clear(),
            EventKind::InputRequired { request_id, .. } => {
                drop(self.ask(asked(RequestKind::Input, request_id)));
            }
            EventKind::ToolRequest { tool_call_id, .. } => {
                drop(self.ask(asked(RequestKind::Tool, tool_call_id)));
            }
            EventKind::ApprovalRequired { approval_id, .. } => {
                drop(self.ask(asked(RequestKind::Approval, approval_id)));
            }
            EventKind::Closed { request, closing } => drop(self.close(request, closing)),
            _ => {}
        }
    }

    /// Forgets all: those who asked are gone, and begin from the start.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The same value in the one form that all equal values have.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(it) if it.fract() == 0.0 && it.abs() < 9e15 => Value::from(it as i64),
            Some(it) => Value::from(it),
            None => value.clone(),
        },
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.iter().map(|(key, it)| (key.clone(), canonical(it))).collect();
            Value::Object(fields.into_iter().collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn answers() -> impl Strategy<Value = Answer> {
        let text = || "[ab]";
        prop_oneof![
            text().prop_map(Answer::Input),
            text().prop_map(|it| Answer::Tool(json!({ "x": it }))),
            text().prop_map(Answer::ToolFailed),
            text().prop_map(|reason| Answer::Approved { reason }),
            text().prop_map(|reason| Answer::Rejected { reason }),
        ]
    }

    fn keys() -> impl Strategy<Value = RequestKey> {
        let kind =
            prop_oneof![Just(RequestKind::Input), Just(RequestKind::Tool), Just(RequestKind::Approval)];
        (kind, "[xy]").prop_map(|(kind, id)| RequestKey::new(kind, id))
    }

    fn closings() -> impl Strategy<Value = Closing> {
        prop_oneof![
            6 => answers().prop_map(Closing::Answered),
            1 => Just(Closing::Expired),
            1 => Just(Closing::Withdrawn),
        ]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(RequestKey),
        Close(RequestKey, Closing),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => keys().prop_map(Step::Ask),
            3 => (keys(), closings()).prop_map(|(key, closing)| Step::Close(key, closing)),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// The rules, told once more in the plainest way: for each request the list of what has ended it.
        #[test]
        fn the_first_that_comes_counts(steps in steps()) {
            let mut requests = Requests::default();
            let mut ends: BTreeMap<RequestKey, Option<Closing>> = BTreeMap::new();
            for step in steps {
                let before = requests.clone();
                match step {
                    Step::Ask(key) => {
                        let fresh = !ends.contains_key(&key);
                        prop_assert_eq!(requests.ask(key.clone()).is_ok(), fresh);
                        ends.entry(key).or_insert(None);
                    }
                    Step::Close(key, closing) => {
                        let fits = !matches!(&closing, Closing::Answered(it) if it.kind() != key.kind);
                        let told = requests.close(&key, &closing);
                        match (ends.get(&key).cloned(), &closing) {
                            (Some(None), _) if fits => {
                                prop_assert_eq!(told, Ok(Closed::Now));
                                ends.insert(key, Some(closing));
                            }
                            (Some(Some(first @ Closing::Answered(_))), _) if first == closing => {
                                prop_assert_eq!(told, Ok(Closed::Before));
                                prop_assert_eq!(&requests, &before);
                            }
                            (Some(Some(Closing::Answered(_))), Closing::Answered(_)) if fits => {
                                prop_assert_eq!(told, Err(Refused::AnsweredOtherwise));
                            }
                            _ => prop_assert_eq!(told, Err(Refused::NotWaiting)),
                        }
                    }
                }
                let open: Vec<_> = ends.iter().filter(|(_, end)| end.is_none()).map(|it| it.0.clone()).collect();
                let mut told = requests.open().to_vec();
                told.sort();
                prop_assert_eq!(told, open);
                prop_assert_eq!(requests.awaited().is_none(), requests.open().is_empty());
            }
        }
    }

    #[test]
    fn the_same_answer_in_other_words_is_no_other_answer() {
        let [one, other] = [r#"{"a":1.0,"b":[{"c":2,"d":3}]}"#, r#"{"b":[{"d":3,"c":2}],"a":1}"#]
            .map(|it| Answer::Tool(serde_json::from_str(it).unwrap()));
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn there_is_an_end_to_what_one_run_may_ask() {
        let mut requests = Requests::default();
        let mut ask = |place: usize| {
            let key = RequestKey::new(RequestKind::Tool, place.to_string());
            requests.ask(key.clone()).map(|()| requests.close(&key, &Closing::Expired))
        };
        for place in 0..limits::REQUESTS_PER_RUN {
            assert_eq!(ask(place), Ok(Ok(Closed::Now)));
        }
        assert_eq!(ask(limits::REQUESTS_PER_RUN), Err(Refused::TooManyOpen));

        let mut requests = Requests::default();
        let mut ask = |place: usize| requests.ask(RequestKey::new(RequestKind::Tool, place.to_string()));
        assert!((0..limits::OPEN_REQUESTS).all(|place| ask(place).is_ok()));
        assert_eq!(ask(limits::OPEN_REQUESTS), Err(Refused::TooManyOpen));
    }
}
