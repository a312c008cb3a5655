//! One table: every scenario over every protocol that can express it gives the same events and the same codes.

mod busy;
mod compact;
mod control;
mod errors;
mod input;
mod resuming;
mod session;
mod watching;

use futures::{FutureExt as _, future::BoxFuture};
use libtest_mimic::Trial;

use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    gateway::shared,
    trial,
};

/// Which protocols can express a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Watching: all of them. What must be called beside is called over gRPC where the protocol cannot.
    Watch,
    /// Calling.
    Call,
    /// Watching with a deadline.
    Deadline,
}

type Scenario = (&'static str, Needs, fn(Client) -> BoxFuture<'static, ()>);

/// A line of the table.
macro_rules! scenario {
    ($needs:ident, $module:ident :: $name:ident) => {
        (stringify!($name), Needs::$needs, |client| $module::$name(client).boxed())
    };
}

const SCENARIOS: &[Scenario] = &[
    scenario!(Watch, watching::late_watcher),
    scenario!(Watch, watching::two_watchers_at_once),
    scenario!(Watch, watching::watcher_leaves),
    scenario!(Watch, watching::events_of_a_run),
    scenario!(Watch, resuming::resume_at_each_cursor),
    scenario!(Watch, resuming::resume_at_each_cursor_of_a_live_run),
    scenario!(Watch, resuming::after_now),
    scenario!(Watch, resuming::after_now_of_an_ended_run),
    scenario!(Watch, compact::compact_log_of_an_ended_run),
    scenario!(Watch, compact::resume_a_compact_log),
    scenario!(Watch, compact::compact_catch_up_of_a_live_run),
    scenario!(Watch, session::session_in_one_stream),
    scenario!(Watch, session::resume_a_session_at_each_cursor),
    scenario!(Watch, session::session_after_now),
    scenario!(Watch, session::compact_session),
    scenario!(Watch, session::bad_session_cursors),
    scenario!(Watch, session::watch_of_an_unknown_session),
    scenario!(Watch, control::cancel),
    scenario!(Call, control::cancel_of_an_ended_run),
    scenario!(Call, control::a_hundred_starts_at_once),
    scenario!(Call, control::lists_and_reads),
    scenario!(Deadline, control::deadline),
    scenario!(Call, control::session_by_cookie),
    scenario!(Watch, input::bootstrap_and_continuation),
    scenario!(Watch, input::run_that_waits),
    scenario!(Watch, watching::every_kind_of_event),
    scenario!(Watch, watching::failed_run),
    scenario!(Watch, errors::unknown_run),
    scenario!(Watch, errors::bad_cursor),
    scenario!(Watch, errors::foreign_cursor),
    scenario!(Watch, errors::cursor_past_the_end),
    scenario!(Call, busy::enqueued_runs_take_turns),
    scenario!(Call, busy::an_interrupt_ends_the_active_run),
    scenario!(Call, busy::a_waiting_run_can_be_cancelled),
    scenario!(Call, busy::too_many_waiting_runs),
    scenario!(Call, busy::a_request_sent_twice_starts_one_run),
    scenario!(Call, errors::missing_run_id),
    scenario!(Call, errors::busy_session),
    scenario!(Call, errors::unknown_worker),
    scenario!(Call, errors::unknown_session),
    scenario!(Call, errors::missing_session),
    scenario!(Call, errors::missing_input),
    scenario!(Call, errors::input_for_another_run),
    scenario!(Call, errors::answer_to_nothing),
    scenario!(Call, errors::message_of_five_mebibytes),
    scenario!(Deadline, errors::every_error_says_its_reason),
];

/// The whole table.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, needs, scenario) in SCENARIOS {
        for protocol in PROTOCOLS.into_iter().filter(|it| can(*it, *needs)) {
            trials.push(trial(format!("conformance::{name}::{protocol}"), move || async move {
                scenario(Client::new(protocol, shared().await.address())).await;
            }));
        }
    }
    for first in PROTOCOLS {
        for then in PROTOCOLS.into_iter().filter(|it| *it != first) {
            let name = format!("conformance::cut_and_resume::{first}_then_{then}");
            trials.push(trial(name, move || async move {
                let first = Client::new(first, shared().await.address());
                resuming::cut_and_resume(first, first.over(then)).await;
            }));
            let name = format!("conformance::cut_and_resume_session::{first}_then_{then}");
            trials.push(trial(name, move || async move {
                let first = Client::new(first, shared().await.address());
                session::cut_and_resume_session(first, first.over(then)).await;
            }));
        }
    }
    trials
}

fn can(protocol: Protocol, needs: Needs) -> bool {
    match needs {
        Needs::Watch => true,
        Needs::Call | Needs::Deadline => protocol.calls(),
    }
}
