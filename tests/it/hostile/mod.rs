//! Peers that do not keep the rules. Each is told so or cut off, and everybody else is served as before.

mod bodies;
mod bytes;
mod crowds;
mod heads;
mod http2;
mod stalls;

use std::{net::SocketAddr, time::Duration};

use libtest_mimic::Trial;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    client::{Client, Protocol},
    gateway::Gateway,
    story,
};

/// A peer that is neither answered nor cut off within this time is kept for too long.
const CUT_OFF: Duration = Duration::from_secs(15);

/// The most that is read of an answer.
const ANSWER_BYTES: usize = 1 << 20;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        bodies::trials(),
        bytes::trials(),
        crowds::trials(),
        heads::trials(),
        http2::trials(),
        stalls::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// A run over two protocols, from its start to its end, as if nothing had happened.
async fn serves_as_before(gateway: &Gateway) {
    let client = Client::new(Protocol::Grpc, gateway.address());
    let (run, log) = story::finished(client, "worker_DAG").await;
    assert_eq!(client.over(Protocol::Sse).watch(&run).all().await, log);
}

/// Writes bytes and reads what comes until the gateway closes the connection, which it must.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // The gateway may have heard enough before the last byte.
    drop(tcp.write_all(bytes).await);
    until_closed(&mut tcp).await
}

/// Reads until the gateway closes the connection, which it must.
async fn until_closed(tcp: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut rest = tcp.take(ANSWER_BYTES as u64);
    // A connection that is reset is closed too.
    let closed = timeout(CUT_OFF, rest.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(closed.is_ok(), "the connection stays open; {answer:?}");
    answer
}
