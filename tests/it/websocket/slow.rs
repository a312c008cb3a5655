//! Clients that do not read.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use tokio::time::sleep;

use super::turns::WORKERS;
use crate::support::{
    client::{Client, Protocol},
    gateway::Setup,
    patient_trial, story,
    websocket::{End, Socket},
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let patience = Duration::from_secs(120);
    vec![patient_trial("websocket::a_slow_client_is_closed_and_resumes_without_loss", patience, slow)]
}

async fn slow() {
    let config = format!("{WORKERS}\n[ws]\nstall_timeout = \"500ms\"\nsend_queue = 65536\n");
    let gateway = Setup::default().config(&config).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let (run, log) = story::finished(client, "flood").await;
    let watch = json!({"type": "watch", "run_id": run});
    let mut slow = Socket::open_narrow(gateway.address()).await;
    let session = slow.hello(json!({})).await;
    slow.ask(watch.clone()).await;
    let (mut quick, _) = Socket::greeted(gateway.address()).await;
    quick.ask(watch).await;
    let late = async {
        // Longer than the gateway waits, shorter than it keeps the end for who comes late.
        sleep(Duration::from_millis(2000)).await;
        slow.rest().await
    };
    let (all, (told, end)) = tokio::join!(quick.events_of(&run), late);
    assert_eq!(all.len(), log.len(), "the other socket is not held up");
    assert_eq!(end, End::Code(1013));
    let told: Vec<_> = told.into_iter().filter(|it| it["run_id"] == run.as_str()).collect();
    assert!(!told.is_empty() && told.len() < all.len(), "{} of {}", told.len(), all.len());
    let mut again = Socket::open(gateway.address()).await;
    let resume = json!({"session_id": session, "resume": {&run: told.last().unwrap()["cursor"]}});
    again.hello(resume).await;
    let rest = again.events_of(&run).await;
    let numbers: Vec<_> = told.iter().chain(&rest).map(|it| it["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=log.len() as u64).collect::<Vec<_>>());
}
