//! What a run asks that a person can answer here: questions, and at a terminal approvals.

use crate::wire::v1::{RequestKind, RunState, watch_run_response::Detail};

/// Something that waits for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    kind: RequestKind,
    id: String,
}

/// What waits for the person, the oldest first. Bounded by what a run may ask at a time.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Vec<Question>,
    /// Whether the person can be asked for a decision. A line of a pipe is never taken for one.
    approvals: bool,
}

/// An answer of the person on its way to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Words for the question of this name.
    Words { request_id: String, text: String },
    /// A decision on the approval of this name.
    Decision { approval_id: String, approve: bool },
}

impl Questions {
    /// None yet.
    pub(super) fn new(approvals: bool) -> Self {
        Self { open: Vec::new(), approvals }
    }

    /// Takes up what an event tells of requests.
    pub(super) fn note(&mut self, detail: &Detail) {
        match detail {
            Detail::InputRequired(it) => self.ask(RequestKind::Input, &it.request_id),
            Detail::ApprovalRequired(it) if self.approvals => {
                self.ask(RequestKind::Approval, &it.approval_id);
            }
            Detail::Closed(it) => {
                self.close(&Question { kind: it.kind(), id: it.request_id.clone() });
            }
            Detail::State(it) if !awaits_client(it.state()) => self.open.clear(),
            _ => {}
        }
    }

    /// The one that is to be answered next.
    pub(super) fn oldest(&self) -> Option<&Question> {
        self.open.first()
    }

    /// It waits no more.
    pub(super) fn close(&mut self, question: &Question) {
        self.open.retain(|it| it != question);
    }

    fn ask(&mut self, kind: RequestKind, id: &str) {
        let question = Question { kind, id: id.to_owned() };
        // What was seen before comes once more when a cut is resumed.
        if !self.open.contains(&question) {
            self.open.push(question);
        }
    }
}

impl Question {
    /// True for an approval.
    pub(super) fn is_approval(&self) -> bool {
        self.kind == RequestKind::Approval
    }

    /// What the person says as an answer to it; `None` when it is none.
    pub(super) fn reply(&self, text: String) -> Option<Reply> {
        let id = self.id.clone();
        if !self.is_approval() {
            return Some(Reply::Words { request_id: id, text });
        }
        let approve = match text.trim().to_lowercase().as_str() {
            "y" | "yes" => true,
            "n" | "no" => false,
            _ => return None,
        };
        Some(Reply::Decision { approval_id: id, approve })
    }
}

impl Reply {
    /// What it answers.
    pub(super) fn question(&self) -> Question {
        match self {
            Self::Words { request_id, .. } => Question { kind: RequestKind::Input, id: request_id.clone() },
            Self::Decision { approval_id, .. } => {
                Question { kind: RequestKind::Approval, id: approval_id.clone() }
            }
        }
    }
}

/// True while something may be open: a run that waits for several things at a time tells of the oldest.
pub(super) fn awaits_client(state: RunState) -> bool {
    matches!(state, RunState::WaitingInput | RunState::WaitingTool | RunState::WaitingApproval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1;

    fn input(id: &str) -> Detail {
        Detail::InputRequired(v1::InputRequiredDetail { request_id: id.to_owned(), ..Default::default() })
    }

    fn approval(id: &str) -> Detail {
        Detail::ApprovalRequired(v1::ApprovalRequiredDetail {
            approval_id: id.to_owned(),
            ..Default::default()
        })
    }

    fn closed(kind: RequestKind, id: &str) -> Detail {
        let request_id = id.to_owned();
        Detail::Closed(v1::ClosedDetail { kind: kind.into(), request_id, ..Default::default() })
    }

    #[test]
    fn what_another_client_has_answered_is_not_asked_any_more() {
        let mut questions = Questions::new(true);
        for detail in [input("1"), approval("1"), input("1"), input("2")] {
            questions.note(&detail);
        }
        questions.note(&closed(RequestKind::Input, "1"));
        let oldest = questions.oldest().unwrap().clone();
        assert!(oldest.is_approval());
        questions.close(&oldest);
        assert_eq!(
            questions.oldest().unwrap().reply("x".into()),
            Some(Reply::Words { request_id: "2".into(), text: "x".into() })
        );
        let running = v1::StateDetail { state: RunState::Running.into(), attempt: 1 };
        questions.note(&Detail::State(running));
        assert_eq!(questions.oldest(), None);
    }

    #[test]
    fn a_decision_is_a_clear_word_and_nobody_but_a_person_is_asked_for_one() {
        let mut questions = Questions::new(true);
        questions.note(&approval("a"));
        let approval_id = || "a".to_owned();
        for (text, approve) in [
            ("y", Some(true)),
            (" Yes ", Some(true)),
            ("n", Some(false)),
            ("no", Some(false)),
            ("", None),
            ("ok", None),
        ] {
            let decision = approve.map(|approve| Reply::Decision { approval_id: approval_id(), approve });
            assert_eq!(questions.oldest().unwrap().reply(text.to_owned()), decision, "{text}");
        }
        let mut piped = Questions::new(false);
        piped.note(&approval("a"));
        assert_eq!(piped.oldest(), None);
    }
}
