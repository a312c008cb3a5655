//! The checker is shown a good history, and one bad one for each rule.

use jiff::Timestamp;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{
    checker::{Rule, check},
    history::{Answer, End, History, Kill, Restart, SessionAfterwards, SessionWatched, Watched},
};
use crate::support::trial;

/// What is wrong with a history, and which promise that breaks.
type Bad = (&'static str, Rule, fn(&mut History));

/// The kill of all these histories.
const KILLED: i64 = 100;

const BAD: &[Bad] = &[
    ("a_started_run_without_a_log", Rule::Acknowledged, |it| {
        it.logs.remove("whole");
    }),
    ("a_started_run_that_cannot_be_read", Rule::Acknowledged, |it| {
        it.logs.insert("whole".into(), Err("not_found".into()));
    }),
    ("a_started_run_that_is_not_listed", Rule::Acknowledged, |it| {
        it.listed.remove("whole");
    }),
    ("an_answer_that_the_run_did_not_take", Rule::Acknowledged, |it| {
        it.answers.push(Answer::Submitted { run_id: "whole".into() });
    }),
    ("a_cancel_that_was_forgotten", Rule::Acknowledged, |it| {
        let state = "RUN_STATE_CANCELLING".into();
        it.answers.push(Answer::Cancelled { run_id: "whole".into(), state });
    }),
    ("a_key_with_two_runs", Rule::Key, |it| start(it, "key of whole", "other")),
    ("a_key_that_starts_another_run", Rule::Key, |it| {
        it.answers.push(Answer::Repeated { key: "key of whole".into(), answer: Ok("other".into()) });
    }),
    ("a_key_that_is_refused_to_its_owner", Rule::Key, |it| {
        it.answers
            .push(Answer::Repeated { key: "key of whole".into(), answer: Err("already_exists".into()) });
    }),
    ("a_key_that_takes_another_request", Rule::Key, |it| {
        it.answers.push(Answer::Reused { key: "key of whole".into(), answer: Ok("whole".into()) });
    }),
    ("a_gap", Rule::Gapless, |it| {
        log(it, "whole").remove(2);
    }),
    ("an_event_twice", Rule::Gapless, |it| {
        let event = log(it, "whole")[2].clone();
        log(it, "whole").insert(2, event);
    }),
    ("a_beginning_that_is_lost", Rule::Gapless, |it| {
        log(it, "whole").remove(0);
    }),
    ("deltas_out_of_order", Rule::Said, |it| {
        let log = log(it, "whole");
        let text = log[2]["delta"].take();
        log[2]["delta"] = log[3]["delta"].take();
        log[3]["delta"] = text;
    }),
    ("a_completed_run_with_a_delta_too_few", Rule::Said, |it| {
        log(it, "whole")[4]["result"]["output"] = json!(3);
    }),
    ("a_watcher_that_missed_an_event", Rule::Watched, |it| {
        it.watches[0].frames.remove(2);
    }),
    ("a_watcher_that_got_an_event_twice", Rule::Watched, |it| {
        let event = it.watches[0].frames[2].clone();
        it.watches[0].frames.insert(2, event);
    }),
    ("a_watcher_that_saw_what_is_not_in_the_log", Rule::Watched, |it| {
        it.watches[0].frames[2]["message"] = json!("another");
    }),
    ("a_watcher_that_saw_more_than_the_log_has", Rule::Watched, |it| {
        let frames = &mut it.watches[0].frames;
        let beyond = frames[3].clone();
        frames.push(beyond);
    }),
    ("a_watcher_that_was_told_the_end_too_early", Rule::Watched, |it| {
        it.watches[0].frames.pop();
    }),
    ("a_watched_run_without_a_log", Rule::Watched, |it| {
        it.logs.insert("whole".into(), Err("not_found".into()));
    }),
    ("a_watcher_that_waits_for_ever", Rule::Served, |it| {
        it.watches[0].frames.pop();
        it.watches[0].end = End::Open;
    }),
    ("a_watcher_that_is_refused", Rule::Served, |it| it.watches[0].end = End::Refused("out_of_range".into())),
    ("a_call_that_is_refused", Rule::Served, |it| {
        it.answers.push(Answer::Refused { call: "StartRun".into(), failure: "not_found".into() });
    }),
    ("a_client_that_waits_for_ever", Rule::Served, |it| it.stuck.push("1 client".into())),
    ("a_watcher_of_a_session_that_missed_an_event", Rule::WatchedSession, |it| {
        it.session_watches[0].frames.remove(3);
    }),
    ("a_watcher_of_a_session_that_got_an_event_twice", Rule::WatchedSession, |it| {
        let event = it.session_watches[0].frames[3].clone();
        it.session_watches[0].frames.push(event);
    }),
    ("a_watcher_of_a_session_that_got_events_out_of_order", Rule::WatchedSession, |it| {
        it.session_watches[0].frames.swap(1, 2);
    }),
    ("a_watcher_of_a_session_that_saw_a_run_of_another", Rule::WatchedSession, |it| {
        it.runs.get_mut("cut").unwrap().as_mut().unwrap()["sessionId"] = json!("another");
    }),
    ("a_watcher_of_a_session_that_is_refused", Rule::Served, |it| {
        it.session_watches[0].end = End::Refused("out_of_range".into());
    }),
    ("a_log_without_an_end", Rule::OneEnd, |it| {
        log(it, "whole").pop();
    }),
    ("a_log_with_two_ends", Rule::OneEnd, |it| {
        let end = event(6, KILLED - 4, json!({"eventType": "EVENT_TYPE_CANCELLED"}));
        log(it, "whole").push(end);
    }),
    ("an_event_after_the_end", Rule::OneEnd, |it| {
        let more = event(6, KILLED - 4, json!({"eventType": "EVENT_TYPE_LOG"}));
        log(it, "whole").push(more);
    }),
    ("a_run_that_a_kill_cut_short_and_that_completes", Rule::CutShort, |it| {
        log(it, "cut")[3] = event(4, KILLED + 10, json!({"eventType": "EVENT_TYPE_COMPLETE"}));
    }),
    ("an_interrupted_run_that_is_not_to_be_tried_again", Rule::CutShort, |it| {
        log(it, "cut")[3]["error"]["retryable"] = json!(false);
    }),
    ("a_run_that_goes_on_after_a_kill", Rule::CutShort, |it| {
        log(it, "cut")[2]["time"] = at(KILLED + 5).to_string().into();
    }),
    ("an_interrupted_run_that_nobody_interrupted", Rule::CutShort, |it| {
        log(it, "cut")[3]["time"] = at(KILLED - 1).to_string().into();
    }),
    ("a_run_that_should_have_begun_again", Rule::CutShort, |it| {
        log(it, "again")[6]["error"] = json!({"code": "interrupted", "retryable": true});
    }),
    ("an_attempt_that_is_not_told", Rule::CutShort, |it| {
        for event in log(it, "again") {
            event["state"]["attempt"] = json!(1);
        }
    }),
    ("a_busy_session", Rule::Session, |it| it.sessions[0].running = true),
    ("a_session_that_takes_no_start", Rule::Session, |it| {
        it.sessions[0].next = Err("failed_precondition".into())
    }),
    ("a_run_that_nobody_asked_for", Rule::Unasked, |it| {
        it.listed.insert("nobody's".into());
    }),
    ("a_state_that_the_log_does_not_end_with", Rule::Summary, |it| {
        it.runs.get_mut("whole").unwrap().as_mut().unwrap()["state"] = json!("RUN_STATE_RUNNING");
    }),
    ("a_last_sequence_that_the_log_does_not_have", Rule::Summary, |it| {
        it.runs.get_mut("whole").unwrap().as_mut().unwrap()["lastSequence"] = json!("4");
    }),
];

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("crash::checker::takes_a_good_history", || async {
        let complaints = check(&good());
        assert!(complaints.is_empty(), "{complaints:#?}");
    })];
    for (name, rule, spoil) in BAD {
        trials.push(trial(format!("crash::checker::finds_{name}"), move || async move {
            let mut history = good();
            spoil(&mut history);
            let complaints = check(&history);
            assert!(complaints.iter().any(|it| it.rule == *rule), "no {rule:?} in {complaints:#?}");
        }));
    }
    trials
}

/// One run that ended before the kill, one that the kill cut short, and one that began again.
fn good() -> History {
    let (before, after) = (at(KILLED), at(KILLED + 1));
    let mut history = History { kills: vec![Kill { before, after }], ..History::default() };
    add(
        &mut history,
        "whole",
        Restart::Interrupt,
        vec![
            event(1, KILLED - 50, state("QUEUED", 1)),
            event(2, KILLED - 49, state("RUNNING", 1)),
            event(3, KILLED - 40, delta(1)),
            event(4, KILLED - 30, delta(2)),
            event(5, KILLED - 20, complete(2)),
        ],
    );
    let interrupted = json!({"code": "interrupted", "retryable": true});
    add(
        &mut history,
        "cut",
        Restart::Interrupt,
        vec![
            event(1, KILLED - 50, state("QUEUED", 1)),
            event(2, KILLED - 49, state("RUNNING", 1)),
            event(3, KILLED - 40, delta(1)),
            event(4, KILLED + 10, json!({"eventType": "EVENT_TYPE_ERROR", "error": interrupted})),
        ],
    );
    add(
        &mut history,
        "again",
        Restart::Rerun,
        vec![
            event(1, KILLED - 50, state("QUEUED", 1)),
            event(2, KILLED - 49, state("RUNNING", 1)),
            event(3, KILLED - 40, delta(1)),
            event(4, KILLED + 10, state("QUEUED", 2)),
            event(5, KILLED + 11, state("RUNNING", 2)),
            event(6, KILLED + 12, delta(1)),
            event(7, KILLED + 13, complete(1)),
        ],
    );
    let frames = history.logs.values().flat_map(|it| it.as_ref().unwrap().iter().cloned());
    history.session_watches.push(SessionWatched {
        session_id: "session".into(),
        protocols: vec!["sse".to_owned()],
        frames: frames.map(|it| with(it, "cursor", "of the session")).collect(),
        end: End::Open,
    });
    let next = Ok("EVENT_TYPE_COMPLETE".to_owned());
    history.sessions.push(SessionAfterwards { session_id: "session".into(), running: false, next });
    history
}

/// A run that was started with a key, watched to its end, and asked about.
fn add(history: &mut History, run_id: &str, restart: Restart, log: Vec<Value>) {
    let key = format!("key of {run_id}");
    start(history, &key, run_id);
    if let Some(Answer::Started { restart: of, .. }) = history.answers.last_mut() {
        *of = restart;
    }
    history.answers.push(Answer::Repeated { key: key.clone(), answer: Ok(run_id.to_owned()) });
    history.answers.push(Answer::Reused { key, answer: Err("already_exists".to_owned()) });
    let log: Vec<_> = log.into_iter().map(|it| with(it, "runId", run_id)).collect();
    let last = log.last().unwrap();
    let state = match last["eventType"].as_str() {
        Some("EVENT_TYPE_ERROR") => "RUN_STATE_FAILED",
        _ => "RUN_STATE_SUCCEEDED",
    };
    let run = json!({"state": state, "lastSequence": last["sequence"], "sessionId": "session", "error": last["error"]});
    history.runs.insert(run_id.to_owned(), Ok(run));
    history.watches.push(Watched {
        run_id: run_id.to_owned(),
        protocols: vec!["sse".to_owned()],
        frames: log.clone(),
        end: End::Whole,
    });
    history.listed.insert(run_id.to_owned());
    history.logs.insert(run_id.to_owned(), Ok(log));
}

fn start(history: &mut History, key: &str, run_id: &str) {
    let (key, run_id) = (key.to_owned(), run_id.to_owned());
    history.answers.push(Answer::Started { key, request: None, run_id, restart: Restart::Interrupt });
}

fn log<'a>(history: &'a mut History, run_id: &str) -> &'a mut Vec<Value> {
    history.logs.get_mut(run_id).unwrap().as_mut().unwrap()
}

fn event(sequence: u64, time: i64, mut event: Value) -> Value {
    event["sequence"] = sequence.to_string().into();
    event["time"] = at(time).to_string().into();
    event["cursor"] = format!("cursor {sequence}").into();
    event
}

fn with(mut event: Value, field: &str, value: &str) -> Value {
    event[field] = value.into();
    event
}

fn state(state: &str, attempt: u64) -> Value {
    json!({"eventType": "EVENT_TYPE_STATE", "state": {"state": format!("RUN_STATE_{state}"), "attempt": attempt}})
}

fn delta(number: u64) -> Value {
    json!({"eventType": "EVENT_TYPE_DELTA", "delta": {"text": format!("{number} ")}})
}

fn complete(output: u64) -> Value {
    json!({"eventType": "EVENT_TYPE_COMPLETE", "result": {"output": output}})
}

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap()
}
