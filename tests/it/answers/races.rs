//! Whatever comes at the same time: one outcome, the same for all who watch, for the program, and for who has caused it.

use std::time::Duration;

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{closings, door::Door, is_not_pending, output, start, states, until_state};
use crate::support::{
    client::{Client, Failure, PROTOCOLS, Protocol},
    patient_trial, story,
};

/// Races in a row, at least.
const ROUNDS: usize = 30;
/// Races in a row at most, until each side has won.
const MOST_ROUNDS: usize = 200;
/// Starting so many programs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        patient_trial("answers::of_many_answers_at_once_one_counts", PATIENCE, many_answers),
        patient_trial("answers::an_answer_meets_the_deadline", PATIENCE, answer_and_deadline),
        patient_trial("answers::a_cancel_meets_an_answer", PATIENCE, cancel_and_answer),
    ]
}

/// The logs of two who have watched from the start, by protocols that change from round to round. They are the same.
async fn watched(client: Client, run: &str, round: usize) -> Vec<Value> {
    let other = PROTOCOLS[1 + round % (PROTOCOLS.len() - 1)];
    let (log, seen) = tokio::join!(client.watch(run).all(), client.over(other).watch(run).all());
    assert_eq!(log, seen, "grpc and {other}");
    story::check_log(run, &log);
    log
}

async fn many_answers() {
    let (_gateway, client) = start().await;
    let doors: Vec<_> = PROTOCOLS.into_iter().filter(|it| it.calls()).map(Door::Client).collect();
    let mut winners = Vec::new();
    for round in 0..ROUNDS {
        let run = story::run(client, "calls").await;
        let watch = watched(client, &run, round);
        let race = async {
            until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
            let answers = (0..10).map(|number| {
                let door = doors[(number + round) % doors.len()];
                let run = &run;
                async move { (number, door.tool_result(client, run, "t", json!(number)).await) }
            });
            join_all(answers).await
        };
        let (log, answers) = tokio::join!(watch, race);
        let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| it.1.is_ok());
        refused.iter().for_each(|(_, failure)| is_not_pending(failure.as_ref().unwrap_err()));
        assert_eq!(taken.len(), 1, "{taken:?}");
        let winner = taken[0].0;
        assert_eq!(closings(&log), [("TOOL", "t", "ANSWERED")]);
        let closed = log.iter().find(|it| it.get("closed").is_some()).unwrap();
        assert_eq!(closed["closed"]["toolResult"]["result"], winner as f64);
        assert_eq!(output(&log)["result"], winner as f64);
        // The winner was not told, and says it again.
        doors[round % doors.len()].tool_result(client, &run, "t", json!(winner)).await.unwrap();
        winners.push(winner);
    }
    winners.sort_unstable();
    winners.dedup();
    assert!(winners.len() > 1, "it is not always the same one");
}

/// A time that is moved towards the moment at which the winner changes.
struct Aim {
    millis: u64,
    step: u64,
    wins: [usize; 2],
}

impl Aim {
    fn new(millis: u64, step: u64) -> Self {
        Self { millis, step, wins: [0, 0] }
    }

    async fn wait(&self) {
        sleep(Duration::from_millis(self.millis)).await;
    }

    /// The one who waited has won, or has come too late.
    fn won(&mut self, won: bool) {
        self.wins[usize::from(won)] += 1;
        self.millis = if won { self.millis + self.step } else { self.millis.saturating_sub(self.step) };
    }

    fn is_done(&self) -> bool {
        let rounds: usize = self.wins.iter().sum();
        rounds >= ROUNDS && self.both_have_won() || rounds >= MOST_ROUNDS
    }

    fn both_have_won(&self) -> bool {
        self.wins.iter().all(|it| *it > 2)
    }

    fn check(&self) {
        assert!(self.both_have_won(), "both have won: {:?}", self.wins);
    }
}

async fn answer_and_deadline() {
    let (_gateway, client) = start().await;
    let mut aim = Aim::new(200, 5);
    while !aim.is_done() {
        let run = story::run(client, "calls_in_a_hurry").await;
        let race = async {
            until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
            aim.wait().await;
            Door::Client(Protocol::Connect).tool_result(client, &run, "t", json!(7)).await
        };
        let round = aim.wins.iter().sum();
        let (log, answered) = tokio::join!(watched(client, &run, round), race);
        match &answered {
            Ok(_) => {
                assert_eq!(closings(&log), [("TOOL", "t", "ANSWERED")]);
                assert_eq!((&output(&log)["ok"], &output(&log)["result"]), (&json!(true), &json!(7.0)));
            }
            Err(failure) => {
                is_not_pending(failure);
                assert_eq!(closings(&log), [("TOOL", "t", "EXPIRED")]);
                assert_eq!(output(&log)["code"], "tool_timeout");
            }
        }
        aim.won(answered.is_ok());
    }
    aim.check();
}

async fn cancel_and_answer() {
    let (_gateway, client) = start().await;
    let mut answered_and_cancelled = 0;
    let mut aim = Aim::new(0, 1);
    while !aim.is_done() {
        let run = story::run(client, "calls").await;
        let round: usize = aim.wins.iter().sum();
        let late = aim.millis;
        let race = async {
            until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
            let (before, after) = if late < 20 { (20 - late, 0) } else { (0, late - 20) };
            let answer = async {
                sleep(Duration::from_millis(after)).await;
                Door::Client(Protocol::Connect).tool_result(client, &run, "t", json!(7)).await
            };
            let cancel = async {
                sleep(Duration::from_millis(before)).await;
                client
                    .over(Protocol::ConnectJson)
                    .call("CancelRun", json!({"runId": run, "reason": "enough"}))
                    .await
            };
            tokio::join!(answer, cancel)
        };
        let (log, (answered, cancelled)) = tokio::join!(watched(client, &run, round), race);
        let end = story::text(&log.last().unwrap()["eventType"]);
        let state = cancelled.unwrap()["state"].clone();
        match story::text(&state) {
            "RUN_STATE_CANCELLING" | "RUN_STATE_CANCELLED" => assert_eq!(end, "EVENT_TYPE_CANCELLED"),
            "RUN_STATE_SUCCEEDED" => assert_eq!(end, "EVENT_TYPE_COMPLETE"),
            state => panic!("{state} of a run that ended with {end}"),
        }
        answer_is_in(&log, &answered);
        if answered.is_ok() && end == "EVENT_TYPE_CANCELLED" {
            answered_and_cancelled += 1;
        }
        aim.won(answered.is_ok());
    }
    aim.check();
    eprintln!("{answered_and_cancelled} runs were answered first and cancelled then: {:?}", aim.wins);
}

/// An answer that was taken is in the log; one that was not is not, and the request ended with the run.
fn answer_is_in(log: &[Value], answered: &Result<Value, Failure>) {
    match answered {
        Ok(_) => assert_eq!(closings(log), [("TOOL", "t", "ANSWERED")]),
        Err(failure) => {
            is_not_pending(failure);
            assert_eq!(closings(log), [("TOOL", "t", "WITHDRAWN")]);
            assert_eq!(states(log).last(), Some(&"CANCELLING"), "{log:#?}");
        }
    }
}
