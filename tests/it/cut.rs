//! A response cut after every one of its bytes, and resumed over another protocol: nothing is lost, nothing comes twice.

use std::time::Duration;

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    cutter::Cutter,
    gateway::shared,
    patient_trial, story, trial,
};

/// Cuts at a time over one protocol.
const AT_A_TIME: usize = 8;
/// Of the responses of a live run so many are cut on each protocol.
const LIVE_CUTS: usize = 40;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let patience = Duration::from_secs(180);
    let mut trials = Vec::new();
    for (first, then) in pairs() {
        let name = format!("cut::after_every_byte::{first}_then_{then}");
        trials.push(patient_trial(name, patience, move || every_byte(first, then)));
    }
    trials.push(trial("cut::while_the_run_goes_on", live));
    trials
}

/// Each protocol, and the one after it in the list.
fn pairs() -> impl Iterator<Item = (Protocol, Protocol)> {
    PROTOCOLS.into_iter().zip(PROTOCOLS.into_iter().cycle().skip(1))
}

/// A run that has ended; its whole response is `0..length` bytes.
async fn every_byte(first: Protocol, then: Protocol) {
    let client = Client::new(first, shared().await.address());
    let (run, log) = story::finished(client, "brief").await;
    assert!((6..=10).contains(&log.len()), "a short run: {log:#?}");
    let length = length_of(client, &run, &log).await;
    let (run, log) = (run.as_str(), &log);
    let lanes = (0..AT_A_TIME).map(|lane| async move {
        let cutter = Cutter::start(client.address()).await;
        for bytes in (lane..=length).step_by(AT_A_TIME) {
            let joined = cut_and_resume(&cutter, client, client.over(then), run, bytes).await;
            assert_eq!(joined, *log, "cut after byte {bytes} of {length}");
        }
    });
    join_all(lanes).await;
}

/// All protocols watch one run from its beginning; each response is cut somewhere else.
async fn live() {
    let client = Client::new(Protocol::Grpc, shared().await.address());
    let (earlier, log) = story::finished(client, "test_pipeline").await;
    let lengths = join_all(PROTOCOLS.map(|it| length_of(client.over(it), &earlier, &log))).await;
    let run = &story::run(client, "test_pipeline").await;
    let watches = pairs().zip(lengths).flat_map(|((first, then), length)| {
        // Begins in the middle of a step, so that not all cuts fall on the same places of each event.
        let places = (0..LIVE_CUTS).map(move |it| (2 * it + 1) * length / (2 * LIVE_CUTS));
        places.map(move |bytes| async move {
            let cutter = Cutter::start(client.address()).await;
            let joined = cut_and_resume(&cutter, client.over(first), client.over(then), run, bytes).await;
            (format!("{first}, then {then}, cut after byte {bytes}"), joined)
        })
    });
    let (all, log) = tokio::join!(join_all(watches), story::log_of(client, run));
    for (what, joined) in all {
        assert_eq!(joined, log, "{what}");
    }
}

/// What a watch gives that is cut after so many bytes, together with what follows over another protocol.
async fn cut_and_resume(cutter: &Cutter, first: Client, then: Client, run: &str, bytes: usize) -> Vec<Value> {
    cutter.cut_after(bytes);
    let (mut seen, cut) = first.at(cutter.address()).watch(run).until_failure().await;
    if cut.is_none() {
        assert!(
            seen.last().is_some_and(story::is_terminal),
            "byte {bytes}: a cut looks like the end: {seen:#?}"
        );
        return seen;
    }
    let after = seen.last().map_or("", story::cursor);
    let rest = then.watch_after(run, after).all().await;
    seen.extend(rest);
    seen
}

/// Bytes of the whole response to a watch of a run that has ended.
async fn length_of(client: Client, run: &str, log: &[Value]) -> usize {
    let uncut = Cutter::start(client.address()).await;
    uncut.cut_after(usize::MAX);
    assert_eq!(client.at(uncut.address()).watch(run).all().await, log);
    uncut.passed()
}
