//! The gateway killed while sessions change: it starts again, and nothing acknowledged for long is lost.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    patient_trial, story,
};

/// Kills in a row. Each hits another moment of writing.
const ROUNDS: u64 = 12;
/// An acknowledged change that is older survives a kill.
const SAFE_AFTER: Duration = Duration::from_millis(50);
/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_millis(100);

pub(crate) fn trials() -> Vec<Trial> {
    vec![patient_trial("killed::sessions_survive_kills_in_a_row", Duration::from_secs(120), sessions_survive)]
}

async fn sessions_survive() {
    let data = tempfile::tempdir().unwrap();
    let start = || Setup::default().data(data.path()).start();
    let mut gateway = start().await;
    let client = Client::new(Protocol::ConnectJson, gateway.address());
    let session = story::session(client).await;
    let (mut number, mut safe) = (0u64, None);
    for round in 0..ROUNDS {
        let client = Client::new(Protocol::ConnectJson, gateway.address());
        let before = safe;
        let (acknowledged, killed) = change_until_killed(client, &gateway, &session, number, round).await;
        number = acknowledged.last().map_or(number, |it| it.0) + 1;
        let old_enough = acknowledged.iter().rev().find(|it| killed - it.1 > SAFE_AFTER + SLACK);
        safe = old_enough.map(|it| it.0).or(before);
        gateway = start().await;
        let client = Client::new(Protocol::ConnectJson, gateway.address());
        let read = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
        assert_eq!(read["session"]["running"], json!(null), "no run begins again, so none holds the session");
        let stored = story::text(&read["session"]["userId"]);
        let stored = stored.strip_prefix("user-").map(|it| it.parse::<u64>().unwrap());
        assert!(
            stored >= safe && stored <= Some(number),
            "round {round}: {stored:?} for {safe:?} to {number}"
        );
        assert!(!gateway.stderr().contains("damaged"), "a kill damages nothing: {}", gateway.stderr());
    }
}

/// Changes the session's user again and again; kills the gateway meanwhile. Gives what was acknowledged, and
/// when, and the moment before the kill.
async fn change_until_killed(
    client: Client,
    gateway: &Gateway,
    session: &str,
    from: u64,
    round: u64,
) -> (Vec<(u64, Instant)>, Instant) {
    let cookie = format!("rungate_session_id={session}");
    let headers = || HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&cookie).unwrap())]);
    let mut acknowledged = Vec::new();
    let changes = async {
        for number in from.. {
            let changed =
                client.call_with("InitRun", json!({"userId": format!("user-{number}")}), headers()).await;
            if changed.is_err() {
                break;
            }
            acknowledged.push((number, Instant::now()));
        }
    };
    let after = Duration::from_millis(170 + round * 37 % 150);
    drop(timeout(after, changes).await);
    let killed = Instant::now();
    gateway.kill();
    (acknowledged, killed)
}
