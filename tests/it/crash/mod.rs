//! The gateway killed with `kill -9` again and again while clients of every protocol talk to it, and started again on the
//! same data. Afterwards a checker goes through what all of them saw.
//!
//! Each seed is a play of its own: what is started, watched, cancelled, answered, and when the kills come. The operating
//! system has a say in it too, so a seed that fails may need some tries to fail again.
//!
//! - `cargo test --test it -- crash` plays a dozen seeds.
//! - `RUNGATE_CRASH_SEEDS=200 cargo test --test it -- crash` plays the seeds 1 to 200.
//! - `RUNGATE_CRASH_SEED=17 cargo test --test it -- crash` plays one.

mod checker;
mod checker_trials;
mod clients;
mod history;
mod random;
mod scene;

use std::{collections::BTreeMap, env, time::Duration};

use libtest_mimic::Trial;

use self::{
    checker::{Complaint, Rule, check},
    history::History,
};
use crate::support::patient_trial;

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 12;
/// Seeds that are played at a time: each is a gateway with its workers and dozens of clients.
const STAGES: usize = 4;
/// A play that takes longer hangs.
const PLAY: Duration = Duration::from_secs(120);
/// No number of seeds takes longer.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Complaints of one rule that are told.
const TOLD: usize = 3;
/// The gateway keeps its logs in memory.
const MEMORY: Environment = &[("RUNGATE_RUN_LOG", "memory")];

type Environment = &'static [(&'static str, &'static str)];

/// What is played.
#[derive(Debug, Clone, Copy)]
struct Play {
    seed: u64,
    /// Whether the gateway is killed at all.
    killed: bool,
    /// Variables of the gateway's environment.
    environment: Environment,
}

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = checker_trials::trials();
    trials.push(patient_trial(
        "crash::a_gateway_without_a_log_on_disk_is_found_out",
        PATIENCE,
        log_in_memory,
    ));
    trials.push(patient_trial("crash::nothing_is_wrong_where_nobody_is_killed", PATIENCE, nobody_is_killed));
    let seeds = seeds();
    for stage in 0..STAGES.min(seeds.len()) {
        let seeds: Vec<_> = seeds.iter().copied().skip(stage).step_by(STAGES).collect();
        let name = format!("crash::seeds::{}_to_{}_by_{STAGES}", seeds[0], seeds[seeds.len() - 1]);
        trials.push(patient_trial(name, PATIENCE, move || some_seeds(seeds)));
    }
    trials
}

fn seeds() -> Vec<u64> {
    let number =
        |name| env::var(name).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{name} is no number")));
    match (number("RUNGATE_CRASH_SEED"), number("RUNGATE_CRASH_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(SEEDS)).collect(),
    }
}

/// Nothing that anybody was told is lost, and nobody is told anything twice.
async fn some_seeds(seeds: Vec<u64>) {
    let mut failed = Vec::new();
    for seed in seeds {
        let history = play(Play { seed, killed: true, environment: &[] }).await;
        let complaints = check(&history);
        // A seed in which nothing happens shows nothing.
        let happened = history.answers.len() > 10 && history.kills.len() > 1;
        if !complaints.is_empty() || !happened {
            let command = format!("RUNGATE_CRASH_SEED={seed} cargo test --test it -- crash::seeds");
            failed.push(format!("{command}\n{}", told(&history, &complaints)));
        }
    }
    assert!(failed.is_empty(), "{} seeds failed\n{}", failed.len(), failed.join("\n\n"));
}

/// A gateway that keeps nothing is not taken for one that does.
async fn log_in_memory() {
    let history = play(Play { seed: 1, killed: true, environment: MEMORY }).await;
    let complaints = check(&history);
    for rule in [Rule::Acknowledged, Rule::Watched, Rule::Key, Rule::Served] {
        assert!(
            complaints.iter().any(|it| it.rule == rule),
            "no {rule:?} in {}",
            told(&history, &complaints)
        );
    }
}

/// The same gateway, the same clients: it is the kills that are complained of.
async fn nobody_is_killed() {
    let history = play(Play { seed: 1, killed: false, environment: MEMORY }).await;
    let complaints = check(&history);
    assert!(complaints.is_empty(), "{}", told(&history, &complaints));
    assert!(history.answers.len() > 10, "{history:#?}");
}

async fn play(play: Play) -> History {
    let history = tokio::time::timeout(PLAY, scene::play(play)).await;
    history.unwrap_or_else(|_| panic!("{play:?} did not end within {PLAY:?}"))
}

/// How many complaints there are of each rule, and some of them.
fn told(history: &History, complaints: &[Complaint]) -> String {
    let (runs, watches, kills) = (history.logs.len(), history.watches.len(), history.kills.len());
    let mut text =
        format!("{} complaints of {runs} runs, {watches} watches, {kills} kills", complaints.len());
    let mut by_rule: BTreeMap<Rule, Vec<&Complaint>> = BTreeMap::new();
    for complaint in complaints {
        by_rule.entry(complaint.rule).or_default().push(complaint);
    }
    for (rule, complaints) in by_rule {
        let some: String = complaints.iter().take(TOLD).map(|it| format!("\n  {it}")).collect();
        text.push_str(&format!("\n{rule:?}, {} times:{some}", complaints.len()));
    }
    text
}
