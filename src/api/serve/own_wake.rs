//! A waker for one of several futures of a task: it tells which one was woken, and that it was woken while the task is
//! running does not wake the task once more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures::task::AtomicWaker;

/// Whether a future was woken. Set at first: the future has to be polled once.
pub(super) struct OwnWake {
    woken: AtomicBool,
    /// The task is running, and will look.
    running: AtomicBool,
    task: AtomicWaker,
}

impl Default for OwnWake {
    fn default() -> Self {
        Self { woken: AtomicBool::new(true), running: AtomicBool::new(false), task: AtomicWaker::new() }
    }
}

impl OwnWake {
    /// The task begins its turn.
    pub(super) fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.running.store(true, Ordering::SeqCst);
    }

    /// The task ends its turn. It is woken when it has not polled a future that was woken meanwhile.
    pub(super) fn end(&self) {
        self.running.store(false, Ordering::SeqCst);
        if self.is_set() {
            self.task.wake();
        }
    }

    /// Whether the future was woken, once.
    pub(super) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// Whether the future was woken.
    pub(super) fn is_set(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// Has the future polled in the next turn.
    pub(super) fn set(&self) {
        self.woken.store(true, Ordering::SeqCst);
    }
}

impl Wake for OwnWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
        if !self.running.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Task(AtomicBool);

    impl ArcWake for Task {
        fn wake_by_ref(task: &Arc<Self>) {
            task.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_task_is_woken_between_its_turns_and_not_within_one() {
        let (task, own) = (Arc::<Task>::default(), Arc::<OwnWake>::default());
        let woken = || task.0.swap(false, Ordering::SeqCst);
        let future = Waker::from(own.clone());
        own.begin(&waker(task.clone()));
        assert!(own.take() && !own.take());
        future.wake_by_ref();
        assert!(own.is_set() && !woken());
        assert!(own.take());
        own.end();
        assert!(!woken());
        future.wake_by_ref();
        assert!(own.is_set() && woken());
    }

    #[test]
    fn what_a_turn_has_left_wakes_the_task_at_its_end() {
        let (task, own) = (Arc::<Task>::default(), Arc::<OwnWake>::default());
        own.begin(&waker(task.clone()));
        own.end();
        assert!(task.0.load(Ordering::SeqCst));
    }
}
