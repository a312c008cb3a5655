//! Whether the client of a connection is still there.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Pings a client that has been silent, and tells when nothing comes back. The timer runs on while the client talks, and looks only
/// when it fires, how long the silence is.
pub(super) struct KeepAlive {
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    heard: Instant,
    /// Since when an answer is awaited.
    pinged: Option<Instant>,
}

/// What is to be done about the silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Ping,
    Dead,
}

impl KeepAlive {
    /// Pings after `interval` of silence; what does not come within `timeout` does not come any more.
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let heard = Instant::now();
        Self { interval, timeout, timer: Box::pin(sleep_until(heard + interval)), heard, pinged: None }
    }

    /// Something has come from the client.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Ready when something is to be done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            match self.pinged.take() {
                Some(pinged) if self.heard <= pinged => return Poll::Ready(Beat::Dead),
                Some(_) => {}
                None if self.heard + self.interval <= Instant::now() => {
                    let now = Instant::now();
                    self.pinged = Some(now);
                    self.timer.as_mut().reset(now + self.timeout);
                    return Poll::Ready(Beat::Ping);
                }
                None => {}
            }
            self.timer.as_mut().reset(self.heard + self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(20);
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_pinged_and_then_given_up() {
        let begin = Instant::now();
        let mut alive = KeepAlive::new(INTERVAL, TIMEOUT);
        assert_eq!(poll_fn(|cx| alive.poll(cx)).await, Beat::Ping);
        assert_eq!(begin.elapsed().as_secs(), 20);
        assert_eq!(poll_fn(|cx| alive.poll(cx)).await, Beat::Dead);
        assert_eq!(begin.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_heard_is_left_alone() {
        let begin = Instant::now();
        let mut alive = KeepAlive::new(INTERVAL, TIMEOUT);
        tokio::time::sleep(Duration::from_secs(15)).await;
        alive.heard();
        assert_eq!(poll_fn(|cx| alive.poll(cx)).await, Beat::Ping);
        assert_eq!(begin.elapsed().as_secs(), 35);
        tokio::time::sleep(Duration::from_secs(5)).await;
        alive.heard();
        assert_eq!(poll_fn(|cx| alive.poll(cx)).await, Beat::Ping);
        assert_eq!(begin.elapsed().as_secs(), 60);
    }
}
