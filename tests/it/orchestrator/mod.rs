//! `orchestrator` workers: a reference orchestrator and the real gateway, over both directions.

mod asks;
mod ending;
mod example;
mod kills;
mod pushes;
mod reference;
mod restarts;

use std::{net::SocketAddr, path::Path};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    gateway::{End, Gateway, Setup},
    needs,
    ports::quiet_address,
    story,
    tools::Tool,
    trial,
};
use reference::{Pusher, Reference, refusal};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("orchestrator::what_it_pushes_is_watched", pushes::deltas_and_done),
        trial("orchestrator::either_name_of_a_run_is_good", pushes::either_name),
        trial("orchestrator::it_may_push_before_it_has_answered", pushes::before_the_answer),
        trial("orchestrator::a_doubled_push_is_applied_once", pushes::doubled),
        trial("orchestrator::pushes_are_applied_as_they_come", pushes::reordered),
        trial("orchestrator::pushes_for_nobody_are_told_so", pushes::nobodys),
        trial("orchestrator::what_is_no_push_is_told_so", pushes::malformed),
        trial("orchestrator::it_is_told_whether_somebody_watches", pushes::delivered),
        trial("orchestrator::it_says_how_its_run_ended", pushes::ends),
        trial("orchestrator::both_sides_show_the_token", pushes::token),
        trial("orchestrator::beyond_the_loopback_a_token_is_required", pushes::no_token_beyond_the_loopback),
        trial("orchestrator::the_public_port_has_no_internal_paths", pushes::public_port),
        trial("orchestrator::answers_come_by_every_protocol", asks::all_kinds),
        trial("orchestrator::the_rules_for_tools_hold", asks::policy),
        trial("orchestrator::what_nobody_answers_is_told_so", asks::nobody_answers),
        trial("orchestrator::answers_are_told_four_times_at_most", asks::retries),
        trial("orchestrator::answers_that_are_refused_are_not_repeated", asks::refused_answers),
        trial("orchestrator::a_cancel_is_told_and_waits_for_last_words", ending::cancelled),
        trial("orchestrator::a_cancel_ends_after_its_grace_time", ending::cancelled_silently),
        trial("orchestrator::a_cancel_of_a_waiting_run_is_told_too", ending::cancelled_while_waiting),
        trial("orchestrator::a_silent_one_has_failed", ending::silent),
        trial("orchestrator::one_out_of_time_is_told_to_stop", ending::out_of_time),
        trial("orchestrator::a_crash_is_an_error_of_its_runs", ending::crashed),
        trial("orchestrator::a_start_that_is_refused_is_an_error", ending::refuses_to_start),
        trial("orchestrator::a_start_that_has_not_arrived_is_repeated", ending::starts_late),
        trial("orchestrator::a_start_is_known_again_after_a_kill", restarts::started_before),
        trial("orchestrator::nothing_is_lost_or_doubled_over_kills", kills::nothing_lost),
        trial("orchestrator::a_cancel_is_told_after_a_kill", restarts::cancelled_before),
    ];
    trials.push(needs(
        &[Tool::Program("python3")],
        trial("orchestrator::the_example_does_what_it_says", example::story_of_the_guide),
    ));
    for end in [End::Kill, End::Term] {
        let name = |what| format!("orchestrator::{what}_after_{}", end.name());
        trials.push(trial(name("requests_are_open"), move || restarts::asked_before(end)));
        trials.push(trial(name("answers_are_told"), move || restarts::answered_before(end)));
        trials
            .push(trial(name("one_worker_of_several_is_interrupted"), move || restarts::one_of_several(end)));
    }
    trials
}

/// A gateway in front of an orchestrator.
struct Scene {
    gateway: Gateway,
    internal: SocketAddr,
    orchestrator: Reference,
}

impl Scene {
    async fn new(worker: &str) -> Self {
        Self::with(worker, "", None).await
    }

    /// With more lines for the worker, more configuration, and the data of an earlier gateway.
    async fn with(worker: &str, config: &str, data: Option<&Path>) -> Self {
        let orchestrator = Reference::start().await;
        let (gateway, internal) = gateway(&orchestrator.config(worker), config, data).await;
        Self { gateway, internal, orchestrator }
    }

    fn client(&self) -> Client {
        Client::new(Protocol::Grpc, self.gateway.address())
    }

    /// Starts a run; gives its id and what pushes for it, by the orchestrator's name.
    async fn run(&self) -> (String, Pusher) {
        let session = story::session(self.client()).await;
        let request = json!({"sessionId": session, "pipelineId": "agent", "params": {"user_input": "hello"}});
        let started = self.client().call("StartRun", request).await.unwrap();
        let run = story::text(&started["runId"]).to_owned();
        let theirs = self.orchestrator.started(&run).await;
        let pusher = Pusher { gateway: self.internal, session, run: theirs, token: None };
        (run, pusher)
    }
}

async fn gateway(worker: &str, config: &str, data: Option<&Path>) -> (Gateway, SocketAddr) {
    let internal = quiet_address();
    let setup = Setup::default().config(config).config(worker);
    let setup = setup.environment("RUNGATE_INTERNAL_LISTEN", internal.to_string());
    let setup = match data {
        Some(data) => setup.data(data),
        None => setup,
    };
    (setup.start().await, internal)
}

/// The last event of a log.
fn last(log: &[Value]) -> &Value {
    log.last().unwrap()
}

fn texts(log: &[Value]) -> String {
    log.iter().filter_map(|it| it["delta"]["text"].as_str()).collect()
}

/// The code and the text of the error that a run ended with.
fn error(log: &[Value]) -> (&str, &str) {
    let end = last(log);
    assert_eq!(end["eventType"], "EVENT_TYPE_ERROR", "{end:#}");
    (story::text(&end["error"]["code"]), story::text(&end["error"]["message"]))
}
