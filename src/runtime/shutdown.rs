//! How the gateway ends: first it drains, then it stops.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The two steps of the end. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Given when nothing new is taken up: streams end with a resumable error, runs are no longer started.
    pub draining: Signal,
    /// Given when what still goes on is dropped.
    pub stopped: Signal,
}

/// Something that is said once to all. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Signal {
    /// Looked at by every stream with every event: unlike the token it has no lock.
    given: Arc<AtomicBool>,
    token: CancellationToken,
}

/// Waits for a signal, for those who wait again and again beside something else: their place among the waiting is kept
/// between the waits. A task that has asked once is woken; when it asks again a look is enough.
pub struct Awaited {
    signal: Signal,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
    asked: Option<Waker>,
}

impl Signal {
    /// Says it. Again has no effect.
    pub fn give(&self) {
        // Before anybody is woken.
        self.given.store(true, Ordering::SeqCst);
        self.token.cancel();
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        self.given.load(Ordering::SeqCst)
    }

    /// Returns when it is given.
    pub async fn given(&self) {
        self.token.cancelled().await;
    }

    /// For who waits more than once.
    pub fn awaited(&self) -> Awaited {
        Awaited { signal: self.clone(), wait: Box::pin(self.token.clone().cancelled_owned()), asked: None }
    }
}

impl Awaited {
    /// Looks without waiting.
    pub fn already(&self) -> bool {
        self.signal.is_given()
    }
}

/// May be polled again after it was ready.
impl Future for Awaited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.asked.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return if self.already() { Poll::Ready(()) } else { Poll::Pending };
        }
        self.asked = Some(cx.waker().clone());
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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_asks_last_is_woken_however_often_it_has_asked() {
        let signal = Signal::default();
        let mut awaited = signal.awaited();
        let tasks = [Arc::<Task>::default(), Arc::<Task>::default()];
        let wakers = tasks.clone().map(Waker::from);
        for asks in [0, 0, 1, 1] {
            let mut context = Context::from_waker(&wakers[asks]);
            assert!(Pin::new(&mut awaited).poll(&mut context).is_pending());
        }
        signal.give();
        assert_eq!(tasks.map(|it| it.0.load(Ordering::SeqCst)), [0, 1]);
        assert!(awaited.already());
        for _ in 0..2 {
            assert!(Pin::new(&mut awaited).poll(&mut Context::from_waker(&wakers[1])).is_ready());
        }
    }
}
