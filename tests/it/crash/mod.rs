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

use std::{env, time::Duration};

use libtest_mimic::Trial;
use tokio::sync::Semaphore;

use self::{
    checker::{Complaint, Rule, check},
    history::History,
};
use crate::support::patient_trial;

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 12;
/// Plays at a time: each is a gateway with its workers and dozens of clients.
static STAGE: Semaphore = Semaphore::const_new(4);
/// A seed takes some seconds; it may have to wait for the stage as long as all others take.
const PATIENCE: Duration = Duration::from_secs(3600);
/// A play that takes longer hangs.
const PLAY: Duration = Duration::from_secs(120);
/// Complaints that are told of one history.
const TOLD: usize = 10;

/// Variables of the gateway's environment.
type Environment = &'static [(&'static str, &'static str)];

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = checker_trials::trials();
    trials.push(patient_trial("crash::a_log_in_memory_is_found_out", PATIENCE, log_in_memory));
    for seed in seeds() {
        trials.push(patient_trial(format!("crash::seed_{seed}"), PATIENCE, move || one_seed(seed)));
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
async fn one_seed(seed: u64) {
    let history = play(seed, &[]).await;
    let complaints = check(&history);
    assert!(
        complaints.is_empty(),
        "{}\nRUNGATE_CRASH_SEED={seed} cargo test --test it -- crash::seed_{seed}",
        told(&history, &complaints)
    );
    // A seed in which nothing happens shows nothing.
    assert!(history.answers.len() > 10 && history.kills.len() > 1, "{history:#?}");
}

/// A gateway that keeps nothing is not taken for one that does.
async fn log_in_memory() {
    let history = play(1, &[("RUNGATE_RUN_LOG", "memory")]).await;
    let complaints = check(&history);
    for rule in [Rule::Acknowledged, Rule::Watched, Rule::Key, Rule::Served] {
        assert!(
            complaints.iter().any(|it| it.rule == rule),
            "no {rule:?} in {}",
            told(&history, &complaints)
        );
    }
}

async fn play(seed: u64, environment: Environment) -> History {
    let _permit = STAGE.acquire().await.unwrap();
    let play = tokio::time::timeout(PLAY, scene::play(seed, environment)).await;
    play.unwrap_or_else(|_| panic!("seed {seed} did not end within {PLAY:?}"))
}

fn told(history: &History, complaints: &[Complaint]) -> String {
    let (runs, watches, kills) = (history.logs.len(), history.watches.len(), history.kills.len());
    let some: String = complaints.iter().take(TOLD).map(|it| format!("\n{it}")).collect();
    format!("{} complaints of {runs} runs, {watches} watches, {kills} kills:{some}", complaints.len())
}
