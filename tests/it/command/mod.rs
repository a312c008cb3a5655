//! `command` workers: real programs, started by the real gateway.

mod ending;
mod talk;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    patient_trial, story, trial,
};

/// The programs.
const PROGRAMS: &str = include_str!("programs.toml");

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    use std::time::Duration;
    let long = Duration::from_secs(180);
    vec![
        trial("command::a_program_is_told_its_task", talk::task),
        trial("command::outputs_of_required_workers_arrive_as_inputs", talk::inputs),
        trial("command::it_runs_beside_the_configuration_and_sees_no_secrets", talk::surroundings),
        trial("command::two_questions_are_open_at_once", talk::two_questions),
        trial("command::a_question_is_asked_once", talk::same_question),
        trial("command::what_nobody_offers_is_answered_at_once", talk::unanswerable),
        trial("command::what_is_no_message_is_log", talk::log_lines),
        trial("command::a_program_fails_in_its_own_way", talk::failures),
        trial("command::large_params_need_not_be_read", talk::never_reads),
        trial("command::standard_output_may_be_closed_early", talk::closes_stdout),
        trial("command::an_output_that_no_client_could_read_is_an_error", talk::unreadable_outputs),
        patient_trial("command::a_flood_ends_the_run_and_takes_bounded_memory", long, talk::floods),
        trial("command::input_right_after_complete_never_meets_a_busy_session", talk::input_after_complete),
        trial("command::a_cancel_is_sigterm_with_time_for_last_words", ending::cancel),
        trial("command::a_program_out_of_time_is_told_to_end", ending::timeout),
        trial("command::who_ignores_sigterm_is_killed_with_all_it_started", ending::deaf),
        trial("command::what_a_program_leaves_behind_is_ended", ending::leaves),
        trial("command::no_program_outlives_a_gateway_that_is_told_to_end", ending::gateway_told),
        trial("command::a_killed_gateway_is_noticed_by_who_reads_or_writes", ending::gateway_killed),
    ]
}

async fn start() -> (Gateway, Client) {
    let setup = Setup::default().config(PROGRAMS).environment("RUNGATE_RUN_RETENTION", "10m");
    let setup = setup.environment("RUNGATE_RUN_DISK_PER_RUN", (64 << 20).to_string());
    let gateway = setup.environment("OTHER", "seen").start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

/// Starts a run with parameters in a session of its own; gives both.
async fn run_with(client: Client, worker: &str, params: Value) -> (String, String) {
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "pipelineId": worker, "params": params});
    let started = client.call("StartRun", request).await.unwrap();
    (session, story::text(&started["runId"]).to_owned())
}

/// The log of a run of `worker`.
async fn log(client: Client, worker: &str) -> Vec<Value> {
    story::finished(client, worker).await.1
}

fn output(log: &[Value]) -> &Value {
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_COMPLETE", "{end:#}");
    &end["result"]["output"]
}

/// The code and the text of the error that a run ended with.
fn error(log: &[Value]) -> (&str, &str) {
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_ERROR", "{end:#}");
    (story::text(&end["error"]["code"]), story::text(&end["error"]["message"]))
}

fn says(log: &[Value], text: &str) -> bool {
    log.iter().any(|it| it["eventType"] == "EVENT_TYPE_LOG" && it["message"] == text)
}
