//! Many runs on one socket: none waits for another's burst.

use libtest_mimic::Trial;
use serde_json::json;

use crate::support::{
    client::{Client, Protocol},
    gateway::Setup,
    story, trial,
    websocket::{Socket, is_terminal},
};

/// Writes 2048 pieces of 8 KiB as fast as they are taken, or a line.
pub(super) const WORKERS: &str = r#"
[workers.flood]
command = ["sh", "-c", '''
read -r task
yes "{\"type\":\"delta\",\"text\":\"$(printf %08192d 0)\"}" | head -n 2048
echo '{"type":"result","output":2048}'
''']

[workers.line]
command = ["sh", "-c", "read -r task; echo hello"]
"#;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![trial("websocket::a_burst_of_one_run_does_not_hold_up_another", fair)]
}

/// All is there before the socket asks, so that nothing but the turns decides what comes when.
async fn fair() {
    let gateway = Setup::default().config(WORKERS).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let (burst, log) = story::finished(client, "flood").await;
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.push(story::finished(client, "line").await.0);
    }
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    for run in [&burst].into_iter().chain(&lines) {
        socket.send(json!({"type": "watch", "run_id": run})).await;
    }
    let (mut of_burst, mut ended, mut before) = (0, 0, 0);
    while ended < lines.len() + 1 {
        let event = socket.next().await;
        if event["run_id"] == burst.as_str() {
            of_burst += 1;
            assert_eq!(event["seq"], of_burst, "in order");
        } else if is_terminal(&event) {
            before = of_burst;
        }
        ended += usize::from(is_terminal(&event));
    }
    assert_eq!(of_burst, log.len());
    // What is in the buffers of the connection before the last watch begins, and a few turns.
    assert!(before < log.len() / 2, "the last short run ended after {before} of {} events", log.len());
}
