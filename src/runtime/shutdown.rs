//! How the gateway ends: first it drains, then it stops.

use std::{
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The two steps of the end. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Set when nothing new is taken up: streams end with a resumable error, runs are no longer started.
    pub draining: CancellationToken,
    /// Set when what still goes on is dropped.
    pub stopped: CancellationToken,
}

/// Waits for a token, for those who wait again and again beside something else: their place among the waiting is kept
/// between the waits.
pub struct Cancelled {
    token: CancellationToken,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Cancelled {
    /// Waits for `token`.
    pub fn new(token: CancellationToken) -> Self {
        Self { wait: Box::pin(token.clone().cancelled_owned()), token }
    }

    /// Looks without waiting.
    pub fn already(&self) -> bool {
        self.token.is_cancelled()
    }
}

/// May be polled again after it was ready.
impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.wait.as_mut().poll(cx)
    }
}

/// Says that the process must not go on; see [`fatal`].
pub fn report_fatal() {
    token().cancel();
}

/// Returns when a task died without which the gateway cannot keep its promises.
pub async fn fatal() {
    token().cancelled().await;
}

fn token() -> &'static CancellationToken {
    static FATAL: OnceLock<CancellationToken> = OnceLock::new();
    FATAL.get_or_init(CancellationToken::new)
}
