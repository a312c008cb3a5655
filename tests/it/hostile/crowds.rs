//! More connections than anybody needs.

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt as _, future::join_all, stream};
use libtest_mimic::Trial;
use rustix::process::{Resource, getrlimit};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use super::serves_as_before;
use crate::support::{gateway::Setup, patient_trial, skip, trial};

const CROWD: usize = 10_000;

/// What one connection that says nothing may take.
const CONNECTION_BYTES: u64 = 16 << 10;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    let crowd = patient_trial("hostile::ten_thousand_idle_connections", Duration::from_secs(120), crowd);
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let crowd = match allowed {
        0..12_000 => skip(crowd, &format!("only {allowed} open files are allowed")),
        _ => crowd,
    };
    vec![crowd, trial("hostile::connections_beyond_the_bound_are_closed", beyond_the_bound)]
}

/// They cost little, disturb nobody, and are ended when they go on saying nothing.
async fn crowd() {
    let gateway = Setup::default().config("[connections]\nheader_timeout = \"6s\"\n").start().await;
    serves_as_before(&gateway).await;
    let before = gateway.resident_bytes();
    let crowd: Vec<_> =
        stream::iter(0..CROWD).map(|_| connect(gateway.address())).buffer_unordered(64).collect().await;
    timeout(Duration::from_secs(5), serves_as_before(&gateway)).await.expect("others are served in time");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < CROWD as u64 * CONNECTION_BYTES, "{grown} bytes for {CROWD} connections");
    let ended = join_all(crowd.into_iter().map(async |mut it| it.read(&mut [0]).await));
    let ended = timeout(Duration::from_secs(30), ended).await.expect("all are ended");
    assert!(ended.iter().all(|it| !matches!(it, Ok(1..))), "nobody is told anything");
    serves_as_before(&gateway).await;
}

/// One too many is closed at once; when another has gone there is room again.
async fn beyond_the_bound() {
    let gateway = Setup::default().config("[connections]\nmax_connections = 8\n").start().await;
    let mut crowd = Vec::new();
    for _ in 0..8 {
        crowd.push(connect(gateway.address()).await);
    }
    let mut refused = connect(gateway.address()).await;
    let read = timeout(Duration::from_secs(5), refused.read(&mut [0])).await.expect("it is closed at once");
    assert!(!matches!(read, Ok(1..)));
    drop(crowd);
    let served = async {
        // The gateway learns of the closed connections in its own time.
        while crate::support::http::try_get(gateway.address(), "/healthz").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), served).await.expect("there is room again");
    serves_as_before(&gateway).await;
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}
