//! Why a command ends before its time: what the person reads, and the code to exit with.

use std::{collections::HashMap, error::Error, io, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Exit, gateway_url::GatewayUrl, render::text};
use crate::{model::RunId, wire::ERROR_DOMAIN};

/// Why a command ends before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection, or it broke.
    #[error("cannot reach the gateway at {gateway}: {cause}{}", hint(*.before))]
    Unreachable {
        /// Where it should be.
        gateway: String,
        /// What the system says.
        cause: String,
        /// True when it was reached before.
        before: bool,
    },
    /// The gateway, or something in front of it, said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The session has an active run.
    #[error(
        "session {session_id} has an active run already: {run_id}\n  \
         watch it:  rungate watch {run_id}{argument}\n  \
         cancel it: rungate cancel {run_id}{argument}\n  \
         or start another session: --new-session"
    )]
    Busy {
        /// The session.
        session_id: String,
        /// The run that holds it.
        run_id: String,
        /// What the commands need beside, to reach the gateway.
        argument: String,
    },
    /// The gateway was not back in time.
    #[error(
        "gave up after {}: {cause}\n  \
         the run may go on; see: rungate watch {run_id}{}{argument}",
        text::duration(.after.as_secs_f64()), after_argument(.cursor)
    )]
    GaveUp {
        /// The time given.
        after: Duration,
        /// What was the matter at last.
        cause: String,
        /// The run.
        run_id: String,
        /// Where to resume; empty when nothing was seen.
        cursor: String,
        /// What the command needs beside, to reach the gateway.
        argument: String,
    },
    /// The gateway is back, but has not got the run, or not all of it.
    #[error(
        "the gateway at {gateway} is back but does not have run {run_id} as it was seen here: {cause}\n  \
         it was restarted without its stored runs, or the run is no longer kept"
    )]
    Forgotten {
        /// The gateway.
        gateway: String,
        /// The run.
        run_id: String,
        /// What the gateway says.
        cause: String,
    },
    /// There is no log of runs to export.
    #[error("{0}")]
    NoLog(String),
    /// Runs that were named are not in the log.
    #[error("{}", not_found(.0))]
    NotFound(Vec<RunId>),
    /// Wrong usage that the parser of arguments cannot see.
    #[error("{0}")]
    Usage(String),
    /// The person left before there was a run.
    #[error("interrupted")]
    Interrupted,
    /// What was found out cannot be written, or an answer not be read.
    #[error("{}", text::io_error(.0))]
    Output(#[from] io::Error),
}

/// What the gateway says when it says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The kind.
    pub(super) code: Code,
    /// For people.
    pub(super) message: String,
    /// For programs; empty when the gateway's own words are missing.
    pub(super) reason: String,
    /// Ids.
    pub(super) metadata: HashMap<String, String>,
    /// When to try again, where the gateway says so.
    pub(super) retry_delay: Option<Duration>,
}

impl Failure {
    /// What an RPC's status means.
    pub(super) fn of(status: &Status, gateway: &GatewayUrl) -> Self {
        let refusal = Refusal::of(status);
        if refusal.reason == "SESSION_BUSY"
            && let (Some(run_id), Some(session_id)) =
                (refusal.metadata.get("active_run_id"), refusal.metadata.get("session_id"))
        {
            let argument = gateway.as_argument();
            return Self::Busy { session_id: session_id.clone(), run_id: run_id.clone(), argument };
        }
        if refusal.reason.is_empty() && is_transport(refusal.code) {
            let cause = root_cause(status).unwrap_or(refusal.message);
            return Self::Unreachable { gateway: gateway.to_string(), cause, before: false };
        }
        Self::Refused(Box::new(refusal))
    }

    /// True when the same may succeed when it is tried again.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(it) => {
                it.code == Code::Unavailable
                    || (it.code == Code::ResourceExhausted && it.retry_delay.is_some())
            }
            _ => false,
        }
    }

    /// When to try again, where the gateway says so.
    pub(super) fn retry_delay(&self) -> Option<Duration> {
        if let Self::Refused(it) = self { it.retry_delay } else { None }
    }

    /// The kind of refusal, when it is one.
    pub(super) fn code(&self) -> Option<Code> {
        if let Self::Refused(it) = self { Some(it.code) } else { None }
    }

    /// The reason of the refusal, when it is one.
    pub(super) fn reason(&self) -> &str {
        if let Self::Refused(it) = self { &it.reason } else { "" }
    }

    /// In a few words, for a notice.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Unreachable { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// The code to exit with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(it) if matches!(it.code, Code::InvalidArgument | Code::OutOfRange) => Exit::Usage,
            Self::Interrupted => Exit::Cancelled,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::OutputClosed,
            _ => Exit::Failed,
        }
    }
}

impl Refusal {
    fn of(status: &Status) -> Self {
        let info = status.get_details_error_info().filter(|it| it.domain == ERROR_DOMAIN);
        let (reason, metadata) = info.map(|it| (it.reason, it.metadata)).unwrap_or_default();
        let retry_delay = status.get_details_retry_info().and_then(|it| it.retry_delay);
        let message = text::one_line(status.message());
        Self { code: status.code(), message, reason: text::one_line(&reason), metadata, retry_delay }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = if self.message.is_empty() { self.code.description() } else { &self.message };
        match self.reason.as_str() {
            "" => f.write_str(message),
            reason => write!(f, "{message} ({reason})"),
        }
    }
}

/// Codes that a client's own stack makes of a connection that cannot be had or breaks, and a proxy of a gateway that is
/// away. The gateway's own errors carry a reason and are told apart by it.
fn is_transport(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

/// The innermost error, which is the one that says something: `Connection refused`.
fn root_cause(status: &Status) -> Option<String> {
    let mut cause = status.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(text::one_line(&cause.to_string()))
}

fn hint(before: bool) -> &'static str {
    if before { "" } else { "\n  is it running? `rungate serve` starts one; --gateway names another" }
}

fn not_found(run_ids: &[RunId]) -> String {
    let lines: Vec<_> = run_ids.iter().map(|it| format!("run {it} is not in this folder")).collect();
    lines.join("\n")
}

fn after_argument(cursor: &str) -> String {
    if cursor.is_empty() { String::new() } else { format!(" --after {cursor}") }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn gateway() -> GatewayUrl {
        "127.0.0.1:1".parse().unwrap()
    }

    fn told(code: Code, reason: &str) -> Failure {
        let metadata = [("active_run_id", "run_1"), ("session_id", "s")];
        let metadata: HashMap<_, _> = metadata.map(|(key, it)| (key.to_owned(), it.to_owned())).into();
        let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
        Failure::of(&Status::with_error_details(code, "no \u{1b}[31mway", details), &gateway())
    }

    #[test]
    fn message_and_reason_are_shown_without_control_characters() {
        assert_eq!(told(Code::NotFound, "RUN_NOT_FOUND").to_string(), "no [31mway (RUN_NOT_FOUND)");
    }

    #[test]
    fn a_busy_session_names_its_run_and_what_to_do() {
        let text = told(Code::FailedPrecondition, "SESSION_BUSY").to_string();
        assert!(text.contains("rungate watch run_1 --gateway http://127.0.0.1:1"), "{text}");
        assert!(text.contains("rungate cancel run_1"), "{text}");
    }

    #[test]
    fn what_breaks_on_the_way_is_tried_again_and_what_the_gateway_says_is_not() {
        for code in [Code::Unknown, Code::Internal, Code::Cancelled, Code::Unavailable] {
            assert!(
                Failure::of(&Status::new(code, "h2 protocol error"), &gateway()).is_transient(),
                "{code}"
            );
        }
        assert!(told(Code::Unavailable, "DRAINING").is_transient());
        for code in [Code::Internal, Code::NotFound, Code::InvalidArgument, Code::ResourceExhausted] {
            assert!(!told(code, "SOME_REASON").is_transient(), "{code}");
        }
        assert!(!Failure::of(&Status::new(Code::Unimplemented, ""), &gateway()).is_transient());
    }

    #[test]
    fn codes_follow_the_cause() {
        assert_eq!(told(Code::InvalidArgument, "WORKER_UNKNOWN").exit(), Exit::Usage);
        assert_eq!(told(Code::NotFound, "RUN_NOT_FOUND").exit(), Exit::Failed);
        assert_eq!(told(Code::FailedPrecondition, "SESSION_BUSY").exit(), Exit::Failed);
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::Output(closed).exit(), Exit::OutputClosed);
    }
}
