//! Ports for servers that cannot say which one they took, or that have to come back on the one they had.

use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

/// Ports that no common system gives out by itself: nobody takes one while its server is not there.
const PORTS: Range<u32> = 20_000..32_000;

/// An address on the loopback that is given out once.
pub(crate) fn quiet_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other processes of these tests begin elsewhere.
        let place = GIVEN.fetch_add(1, Ordering::Relaxed) + 64 * (std::process::id() % 1024);
        let port = (PORTS.start + place % (PORTS.end - PORTS.start)) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
