//! Any number of watched runs on one socket: each told in its order, none before another for longer than a batch.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};

use crate::{
    gateway::{Watch, WatchEnd},
    model::{Entry, RunId, RunState},
    wire::{RunFacts, websocket_event, websocket_event_of_request},
};

/// Bytes of events that one run gets before it is the next one's turn, but at least one event. Two or three writes.
const TURN_BYTES: usize = 32 << 10;

/// A run that is to be watched.
pub(super) struct NewWatch {
    pub(super) run_id: RunId,
    pub(super) watch: Watch,
    pub(super) facts: RunFacts,
    /// Where the run stood.
    pub(super) state: RunState,
    /// The message of this socket that started it.
    pub(super) request_id: Option<String>,
}

/// The watched runs of a socket. Each holds its place in its log and nothing else; what it gives is encoded once for all
/// sockets.
#[derive(Default)]
pub(super) struct Watches {
    watched: HashMap<RunId, Watched>,
    /// Watches that wait for events, or have some and wait for their turn: the one that has waited longest comes first.
    waiting: FuturesUnordered<Abortable<BoxFuture<'static, Pulled>>>,
    /// Resumed runs whose missed events come before everything else, in the client's order.
    missed: VecDeque<Missed>,
}

/// What a turn has given.
pub(super) struct Turn {
    /// Text messages, in order.
    pub(super) messages: Vec<Bytes>,
    /// The run is watched no more, because this went wrong.
    pub(super) ended: Option<(RunId, WatchEnd)>,
}

struct Watched {
    facts: Arc<RunFacts>,
    request_id: Option<String>,
    /// Takes back the wait for its events; none while it tells what was missed.
    abort: Option<AbortHandle>,
}

struct Missed {
    run_id: RunId,
    watch: Watch,
    /// Where the log ended when the run was resumed.
    until: u64,
}

struct Pulled {
    run_id: RunId,
    watch: Watch,
    read: Option<Result<Vec<Arc<Entry>>, WatchEnd>>,
}

impl Watches {
    /// How many runs are watched.
    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    pub(super) fn contains(&self, run_id: RunId) -> bool {
        self.watched.contains_key(&run_id)
    }

    /// Watches a run; false when it is watched already.
    pub(super) fn add(&mut self, new: NewWatch) -> bool {
        let Some(watch) = self.take_up(new) else { return false };
        self.wait(watch.0, watch.1);
        true
    }

    /// Watches a run whose events up to `until` come before those of others; false when it is watched already.
    pub(super) fn resume(&mut self, new: NewWatch, until: u64) -> bool {
        let Some((run_id, watch)) = self.take_up(new) else { return false };
        if watch.after() < until {
            self.missed.push_back(Missed { run_id, watch, until });
        } else {
            self.wait(run_id, watch);
        }
        true
    }

    /// Watches a run no more; false when it was not watched.
    pub(super) fn remove(&mut self, run_id: RunId) -> bool {
        let Some(watched) = self.watched.remove(&run_id) else { return false };
        if let Some(abort) = watched.abort {
            abort.abort();
        }
        self.missed.retain(|it| it.run_id != run_id);
        true
    }

    /// The events of the run whose turn it is; waits when no run has any. Cancel safe.
    pub(super) async fn next(&mut self) -> Turn {
        loop {
            let pulled = match self.missed.front_mut() {
                Some(missed) => {
                    let read = missed.watch.next().await;
                    let Some(missed) = self.missed.pop_front() else { continue };
                    let caught_up = match &read {
                        Some(Ok(entries)) => {
                            entries.last().is_none_or(|it| it.event.sequence >= missed.until)
                        }
                        _ => true,
                    };
                    if !caught_up {
                        let turn = self.told(missed.run_id, read);
                        self.missed.push_front(missed);
                        return turn;
                    }
                    Pulled { run_id: missed.run_id, watch: missed.watch, read }
                }
                None => match self.waiting.next().await {
                    Some(Ok(pulled)) => pulled,
                    // It was taken back.
                    Some(Err(_)) => continue,
                    None => pending().await,
                },
            };
            let Pulled { run_id, watch, read } = pulled;
            let at_end = watch.at_end() || !matches!(read, Some(Ok(_)));
            let turn = self.told(run_id, read);
            if at_end {
                self.watched.remove(&run_id);
            } else {
                self.wait(run_id, watch);
            }
            return turn;
        }
    }

    fn take_up(&mut self, new: NewWatch) -> Option<(RunId, Watch)> {
        let NewWatch { run_id, watch, facts, request_id, .. } = new;
        if self.contains(run_id) {
            return None;
        }
        // A watch that begins at the end of an ended run has nothing to tell.
        if !watch.at_end() {
            self.watched.insert(run_id, Watched { facts: Arc::new(facts), request_id, abort: None });
        }
        Some((run_id, watch.in_batches_of(TURN_BYTES)))
    }

    fn wait(&mut self, run_id: RunId, mut watch: Watch) {
        let Some(watched) = self.watched.get_mut(&run_id) else { return };
        let pull = async move {
            let read = watch.next().await;
            Pulled { run_id, watch, read }
        };
        let (abort, registration) = AbortHandle::new_pair();
        watched.abort = Some(abort);
        self.waiting.push(Abortable::new(Box::pin(pull), registration));
    }

    fn told(&mut self, run_id: RunId, read: Option<Result<Vec<Arc<Entry>>, WatchEnd>>) -> Turn {
        let Some(watched) = self.watched.get_mut(&run_id) else {
            return Turn { messages: Vec::new(), ended: None };
        };
        match read {
            None => Turn { messages: Vec::new(), ended: None },
            Some(Err(end)) => Turn { messages: Vec::new(), ended: Some((run_id, end)) },
            Some(Ok(entries)) => {
                let messages =
                    entries.iter().map(|entry| match (&watched.request_id, entry.event.sequence) {
                        (Some(request_id), 1) => {
                            websocket_event_of_request(entry, &watched.facts, request_id)
                        }
                        _ => websocket_event(entry, &watched.facts),
                    });
                Turn { messages: messages.collect(), ended: None }
            }
        }
    }
}
