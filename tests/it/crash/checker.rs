//! What must hold of a history. A pure function: it asks nobody.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde_json::Value;

use super::history::{Answer, End, History, Kill, Restart};
use crate::support::story::is_terminal;

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// What was answered is in the log.
    Acknowledged,
    /// A key stands for one run and one request.
    Key,
    /// A log has the sequences 1 to n.
    Gapless,
    /// What a worker said is there in its order, and all of it when it completed.
    Said,
    /// What a watcher was sent is the log from its first event on, and in the end all of it.
    Watched,
    /// What a watcher of a session was sent is the log of each of its runs, in the order of the log.
    WatchedSession,
    /// There is one terminal event, and it is the last.
    OneEnd,
    /// A run that a kill cut short ends as interrupted or has another attempt; no other run does.
    CutShort,
    /// No session is busy when its runs have ended.
    Session,
    /// Every run was asked for.
    Unasked,
    /// GetRun says what the log says.
    Summary,
    /// Everybody was served.
    Served,
}

/// A promise that was not kept.
#[derive(Debug, Clone)]
pub(super) struct Complaint {
    pub(super) rule: Rule,
    text: String,
}

/// Collects complaints.
#[derive(Default)]
struct Complaints(Vec<Complaint>);

/// All that is wrong with a history; nothing when all is well.
pub(super) fn check(history: &History) -> Vec<Complaint> {
    let mut complaints = Complaints::default();
    check_answers(history, &mut complaints);
    let restarts = restarts(history);
    for (run_id, log) in &history.logs {
        match log {
            Ok(log) => {
                let restart = restarts.get(run_id.as_str()).copied().unwrap_or(Restart::Interrupt);
                check_log(run_id, log, &mut complaints);
                check_said(run_id, log, &mut complaints);
                check_cut_short(run_id, log, restart, &history.kills, &mut complaints);
                check_summary(run_id, log, history, &mut complaints);
            }
            Err(error) => {
                complaints.add(Rule::Acknowledged, format!("the log of {run_id} cannot be read: {error}"))
            }
        }
    }
    check_watches(history, &mut complaints);
    check_session_watches(history, &mut complaints);
    check_sessions(history, &mut complaints);
    check_listed(history, &restarts, &mut complaints);
    for who in &history.stuck {
        complaints.add(Rule::Served, format!("still waits: {who}"));
    }
    complaints.0
}

fn restarts(history: &History) -> BTreeMap<&str, Restart> {
    let started = history.answers.iter().filter_map(|it| match it {
        Answer::Started { run_id, restart, .. } => Some((run_id.as_str(), *restart)),
        _ => None,
    });
    started.collect()
}

fn check_answers(history: &History, complaints: &mut Complaints) {
    let mut by_key = BTreeMap::new();
    for answer in &history.answers {
        let Answer::Started { key, run_id, .. } = answer else { continue };
        if !history.logs.contains_key(run_id) {
            complaints.add(Rule::Acknowledged, format!("{run_id} was started and has no log"));
        }
        if by_key.insert(key, run_id).is_some_and(|it| it != run_id) {
            complaints.add(Rule::Key, format!("key {key} started more than {run_id}"));
        }
    }
    for answer in &history.answers {
        match answer {
            Answer::Started { .. } => {}
            Answer::Repeated { key, answer } => {
                if answer.as_ref().ok() != by_key.get(key).copied() {
                    complaints
                        .add(Rule::Key, format!("key {key}, of {:?}, repeated: {answer:?}", by_key.get(key)));
                }
            }
            Answer::Reused { key, answer } => {
                if answer.as_ref().err().is_none_or(|it| it != "already_exists") {
                    complaints.add(Rule::Key, format!("key {key} with another request: {answer:?}"));
                }
            }
            Answer::Cancelled { run_id, state } => check_cancelled(history, run_id, state, complaints),
            Answer::Submitted { run_id } => check_submitted(history, run_id, complaints),
            Answer::Refused { call, failure } => {
                complaints.add(Rule::Served, format!("{call} was refused: {failure}"));
            }
        }
    }
}

/// The state that CancelRun gave is one that the run was in.
fn check_cancelled(history: &History, run_id: &str, state: &str, complaints: &mut Complaints) {
    let Some(Ok(log)) = history.logs.get(run_id) else { return };
    let was = log.iter().any(|it| it["state"]["state"] == state)
        || log.last().is_some_and(|it| end_state(it) == state);
    if !was {
        complaints
            .add(Rule::Acknowledged, format!("{run_id} was {state} to who cancelled it, not in its log"));
    }
}

/// Each answer of the person made the run go on.
fn check_submitted(history: &History, run_id: &str, complaints: &mut Complaints) {
    let Some(Ok(log)) = history.logs.get(run_id) else { return };
    let same = |it: &&Answer| matches!(it, Answer::Submitted { run_id: of } if of == run_id);
    let submitted = history.answers.iter().filter(same).count();
    let taken = log.iter().filter(|it| it["message"] == "input received").count();
    if taken < submitted {
        complaints.add(Rule::Acknowledged, format!("{run_id} took {taken} of {submitted} answers"));
    }
}

fn check_log(run_id: &str, log: &[Value], complaints: &mut Complaints) {
    let sequences: Vec<_> = log.iter().map(sequence).collect();
    if !sequences.iter().copied().eq(1..=log.len() as u64) {
        complaints.add(Rule::Gapless, format!("{run_id} has the sequences {sequences:?}"));
    }
    let ends: Vec<_> = log.iter().filter(|it| is_terminal(it)).map(sequence).collect();
    if ends != [log.len() as u64] {
        complaints.add(Rule::OneEnd, format!("{run_id} has {} events and ends at {ends:?}", log.len()));
    }
}

/// Deltas count from 1 in each attempt; a run that completed with a number has so many in its last one.
fn check_said(run_id: &str, log: &[Value], complaints: &mut Complaints) {
    let mut said = 0;
    for event in log {
        if event["state"]["state"] == "RUN_STATE_QUEUED" {
            said = 0;
        }
        let Some(text) = event["delta"]["text"].as_str() else { continue };
        said += 1;
        if text.trim() != said.to_string() {
            complaints.add(Rule::Said, format!("{run_id} says {text:?} as number {said}"));
            return;
        }
    }
    let output = log.last().and_then(|it| it["result"]["output"].as_f64());
    if let Some(output) = output
        && output != f64::from(said)
    {
        complaints.add(Rule::Said, format!("{run_id} completed with {said} of {output} deltas"));
    }
}

fn check_cut_short(
    run_id: &str,
    log: &[Value],
    restart: Restart,
    kills: &[Kill],
    complaints: &mut Complaints,
) {
    let (Some(first), Some(last)) = (log.first(), log.last()) else { return };
    let (began, ended) = (time(first), time(last));
    // Those that must have hit the run, and those that may have: a kill takes a while, and where in it the gateway died is
    // not known.
    let outlived: Vec<_> = kills.iter().filter(|it| began < it.before && it.after < ended).collect();
    let maybe: Vec<_> = kills.iter().filter(|it| began < it.after && it.before < ended).collect();
    let interrupted = last["error"]["code"] == "interrupted";
    let cancelling = log.iter().any(|it| it["state"]["state"] == "RUN_STATE_CANCELLING");
    let wrong = match (outlived.as_slice(), restart) {
        (_, Restart::Rerun) if interrupted => Some("is interrupted and should have begun again".to_owned()),
        ([], Restart::Interrupt) => {
            (interrupted && maybe.is_empty()).then(|| "is interrupted by nobody".to_owned())
        }
        ([first_kill, ..], Restart::Interrupt) => {
            let cancelled = cancelling && end_state(last) == "RUN_STATE_CANCELLED";
            let retryable = last["error"]["retryable"] == true;
            let well = cancelled || (interrupted && retryable);
            let after = log.iter().filter(|it| time(it) > first_kill.after).count();
            (!well || after != 1).then(|| format!("has {after} events after a kill, the last {last}"))
        }
        (_, Restart::Rerun) => {
            let ran = |moment: Timestamp| {
                log.iter().any(|it| it["state"]["state"] == "RUN_STATE_RUNNING" && time(it) < moment)
            };
            // Who was asked to stop before the kill has no other attempt.
            let least =
                1 + outlived.iter().filter(|it| ran(it.before)).count() as u64 - u64::from(cancelling);
            let most = 1 + maybe.iter().filter(|it| ran(it.after)).count() as u64;
            let attempts = log.iter().filter_map(|it| it["state"]["attempt"].as_u64()).max().unwrap_or(1);
            let well = (least..=most).contains(&attempts);
            (!well).then(|| format!("has {attempts} attempts, not {least} to {most}"))
        }
    };
    if let Some(wrong) = wrong {
        complaints
            .add(Rule::CutShort, format!("{run_id} {wrong}; it began at {began}, the kills are {kills:?}"));
    }
}

fn check_summary(run_id: &str, log: &[Value], history: &History, complaints: &mut Complaints) {
    let Some(last) = log.last() else { return };
    let agrees = match history.runs.get(run_id) {
        Some(Ok(run)) => {
            run["state"] == end_state(last)
                && run["lastSequence"] == last["sequence"]
                && run["error"] == last["error"]
        }
        _ => false,
    };
    if !agrees {
        let run = history.runs.get(run_id);
        complaints.add(
            Rule::Summary,
            format!("{run_id} has {} events, the last {last}, and is {run:?}", log.len()),
        );
    }
}

fn check_watches(history: &History, complaints: &mut Complaints) {
    for watch in &history.watches {
        let run_id = &watch.run_id;
        let Some(Ok(log)) = history.logs.get(run_id) else {
            if !watch.frames.is_empty() {
                let count = watch.frames.len();
                complaints
                    .add(Rule::Watched, format!("{count} events of {run_id} were seen, and it has no log"));
            }
            continue;
        };
        let who = format!("who watched {run_id} over {}", watch.protocols.join(", "));
        let same = watch.frames.iter().zip(log).take_while(|(frame, event)| frame == event).count();
        if same < watch.frames.len() {
            let (frame, event) = (&watch.frames[same], log.get(same));
            complaints
                .add(Rule::Watched, format!("{who} got as number {}: {frame}, not {event:?}", same + 1));
        } else if watch.end != End::Whole {
            complaints
                .add(Rule::Served, format!("{who} has {same} of {} events: {:?}", log.len(), watch.end));
        } else if same < log.len() {
            complaints.add(Rule::Watched, format!("{who} was told the end after {same} of {}", log.len()));
        }
    }
}

fn check_session_watches(history: &History, complaints: &mut Complaints) {
    for watch in &history.session_watches {
        let who = format!("who watched {} over {}", watch.session_id, watch.protocols.join(", "));
        if watch.end != End::Open {
            complaints.add(Rule::Served, format!("{who} has {} events: {:?}", watch.frames.len(), watch.end));
        }
        for (run_id, log) in &history.logs {
            let Ok(log) = log else { continue };
            let frames: Vec<_> = watch.frames.iter().filter(|it| it["runId"] == *run_id).collect();
            let of_session = history.runs.get(run_id).and_then(|it| it.as_ref().ok());
            let expected = match of_session {
                Some(run) if run["sessionId"] == watch.session_id => log.as_slice(),
                _ => &[],
            };
            let same =
                frames.iter().zip(expected).take_while(|(frame, event)| same_event(frame, event)).count();
            if same < frames.len().max(expected.len()) {
                let (all, frame) = (expected.len(), frames.get(same));
                let text = format!("{who}, after {same} of {all} events of {run_id}, got {frame:?}");
                complaints.add(Rule::WatchedSession, text);
            }
        }
    }
}

/// The same but for the cursor, which is that of the session.
fn same_event(frame: &Value, event: &Value) -> bool {
    let (Some(frame), Some(event)) = (frame.as_object(), event.as_object()) else { return false };
    let others = |(name, _): &(&String, &Value)| name.as_str() != "cursor";
    frame.len() == event.len() && frame.iter().filter(others).all(|(name, it)| event.get(name) == Some(it))
}

fn check_sessions(history: &History, complaints: &mut Complaints) {
    for session in &history.sessions {
        let session_id = &session.session_id;
        if session.running {
            complaints.add(Rule::Session, format!("{session_id} is busy, and nothing runs"));
        }
        if session.next.as_deref() != Ok("EVENT_TYPE_COMPLETE") {
            complaints.add(Rule::Session, format!("the next start in {session_id}: {:?}", session.next));
        }
    }
}

fn check_listed(history: &History, started: &BTreeMap<&str, Restart>, complaints: &mut Complaints) {
    for run_id in &history.listed {
        // An answer that comes when its run has just been cut short begins a conversation, as the contract says.
        let run = history.runs.get(run_id).and_then(|it| it.as_ref().ok());
        let continuation = run.is_some_and(|it| it["pipelineId"] == "plan_pipeline");
        if !started.contains_key(run_id.as_str()) && !continuation {
            complaints
                .add(Rule::Unasked, format!("{run_id} is listed, and nobody's start was answered with it"));
        }
    }
    for run_id in started.keys().filter(|it| !history.listed.contains(**it)) {
        complaints.add(Rule::Acknowledged, format!("{run_id} was started and is not listed"));
    }
}

impl Complaints {
    fn add(&mut self, rule: Rule, text: String) {
        self.0.push(Complaint { rule, text });
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The state of a run whose log ends with `event`.
fn end_state(event: &Value) -> &'static str {
    match event["eventType"].as_str() {
        Some("EVENT_TYPE_COMPLETE") => "RUN_STATE_SUCCEEDED",
        Some("EVENT_TYPE_ERROR") => "RUN_STATE_FAILED",
        Some("EVENT_TYPE_CANCELLED") => "RUN_STATE_CANCELLED",
        _ => "none",
    }
}

fn sequence(event: &Value) -> u64 {
    event["sequence"].as_str().and_then(|it| it.parse().ok()).unwrap_or_default()
}

fn time(event: &Value) -> Timestamp {
    event["time"].as_str().and_then(|it| it.parse().ok()).unwrap_or_default()
}
