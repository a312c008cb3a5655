//! Which streams of a connection have something to do.
//!
//! All streams of a connection are served by its one task. Whatever a stream waits for wakes that task, and leaves the stream's
//! number here, so that the others are not asked in vain.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures::task::AtomicWaker;

/// The streams of one connection that were woken. Each stands in it once: it is bounded by the streams that there are.
#[derive(Debug, Default)]
pub(super) struct Ready {
    streams: Mutex<Vec<u32>>,
    task: AtomicWaker,
}

/// Wakes one stream.
#[derive(Debug)]
pub(super) struct StreamWaker {
    stream: u32,
    ready: Arc<Ready>,
    /// It is in the list already.
    listed: AtomicBool,
}

impl Ready {
    /// Has `task` woken when a stream is.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Adds the streams that were woken since the last time to `turn`.
    pub(super) fn take(&self, turn: &mut Vec<u32>) {
        turn.append(&mut self.streams());
    }

    fn streams(&self) -> MutexGuard<'_, Vec<u32>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamWaker {
    /// For a stream of the connection whose list is `ready`.
    pub(super) fn new(stream: u32, ready: Arc<Ready>) -> Self {
        Self { stream, ready, listed: AtomicBool::new(false) }
    }

    /// The stream is about to be asked: whatever happens from now on wakes it again.
    pub(super) fn taken(&self) {
        self.listed.store(false, Ordering::SeqCst);
    }

    /// The connection will ask the stream without being woken. False when it stands in the list, and will be asked anyway.
    pub(super) fn hold(&self) -> bool {
        !self.listed.swap(true, Ordering::SeqCst)
    }

    /// Has the stream asked in this turn of the connection.
    pub(super) fn list(&self) {
        if self.hold() {
            self.ready.streams().push(self.stream);
        }
    }
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.hold() {
            self.ready.streams().push(self.stream);
            self.ready.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_stream_that_is_woken_twice_stands_there_once() {
        let (ready, counted) = (Arc::<Ready>::default(), Arc::<Counted>::default());
        ready.register(&Waker::from(counted.clone()));
        let wakers = [3, 5].map(|it| Arc::new(StreamWaker::new(it, ready.clone())));
        for waker in [&wakers[0], &wakers[1], &wakers[0]] {
            waker.wake_by_ref();
        }
        let take = || {
            let mut turn = Vec::new();
            ready.take(&mut turn);
            turn
        };
        assert_eq!(take(), [3, 5]);
        assert_eq!(counted.0.load(Ordering::SeqCst), 1, "a task takes all that there is");
        wakers[0].wake_by_ref();
        assert!(take().is_empty(), "it is not asked yet");
        wakers[0].taken();
        wakers[0].wake_by_ref();
        assert_eq!(take(), [3]);
    }

    #[test]
    fn a_stream_that_is_held_is_not_woken_too() {
        let waker = Arc::new(StreamWaker::new(3, Arc::default()));
        assert!(waker.hold());
        waker.wake_by_ref();
        let mut turn = Vec::new();
        waker.ready.take(&mut turn);
        assert!(turn.is_empty());
        waker.taken();
        waker.list();
        assert!(!waker.hold(), "it is asked anyway");
        waker.ready.take(&mut turn);
        assert_eq!(turn, [3]);
    }
}
