//! A watch as signals that also tell of its silences: what every streaming protocol is made of.

use std::{future::ready, pin::Pin, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    gateway::{SessionWatch, Watch, WatchEnd},
    model::{Entry, SessionEntry, limits},
    wire::{self, EncodedEvent, Format},
};

/// Where events come from.
pub(super) trait Source: Send + 'static {
    /// An event.
    type Event: Shown;

    /// The next events, all that are ready. `None` when no more will come. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Result<Vec<Self::Event>, WatchEnd>>> + Send;

    /// Asked in a silence: whether there is nothing to wait for any more.
    fn ended(&mut self) -> impl Future<Output = Option<WatchEnd>> + Send {
        ready(None)
    }
}

/// An event that can be sent.
pub(super) trait Shown: Send {
    /// As a message of the service, in [`Format::Proto`] or [`Format::Json`].
    fn message(&self, format: Format) -> EncodedEvent;

    /// As a message of an event stream.
    fn sse(&self) -> Bytes;
}

/// What there is to send.
pub(super) enum Signal<E> {
    /// Events: all that were ready.
    Events(Vec<E>),
    /// Nothing has happened for the length of a heartbeat.
    Silence,
    /// The watch was cut short. Nothing follows.
    Cut(WatchEnd),
}

/// The signals of a watch.
pub(super) struct Signals<S> {
    source: S,
    /// One timer for the whole watch, moved on at each signal.
    silence: Pin<Box<Sleep>>,
    cut: bool,
}

impl<S: Source> Signals<S> {
    /// The signals of `source`.
    pub(super) fn new(source: S) -> Self {
        Self { source, silence: Box::pin(sleep(limits::HEARTBEAT)), cut: false }
    }

    /// The next signal. `None` after the terminal event, or after [`Signal::Cut`].
    pub(super) async fn next(&mut self) -> Option<Signal<S::Event>> {
        if self.cut {
            return None;
        }
        self.silence.as_mut().reset(Instant::now() + limits::HEARTBEAT);
        let next = tokio::select! {
            biased;
            next = self.source.next() => next,
            () = &mut self.silence => match self.source.ended().await {
                None => return Some(Signal::Silence),
                Some(end) => Some(Err(end)),
            },
        };
        Some(match next? {
            Ok(events) => Signal::Events(events),
            Err(end) => {
                self.cut = true;
                Signal::Cut(end)
            }
        })
    }

    /// True when the watch was cut short.
    pub(super) fn were_cut(&self) -> bool {
        self.cut
    }
}

impl Source for Watch {
    type Event = Arc<Entry>;

    fn next(&mut self) -> impl Future<Output = Option<Result<Vec<Arc<Entry>>, WatchEnd>>> + Send {
        Watch::next(self)
    }
}

impl Shown for Arc<Entry> {
    fn message(&self, format: Format) -> EncodedEvent {
        wire::encoded_event(self, format)
    }

    fn sse(&self) -> Bytes {
        wire::encoded(self, Format::Sse)
    }
}

impl Source for SessionWatch {
    type Event = SessionEntry;

    async fn next(&mut self) -> Option<Result<Vec<SessionEntry>, WatchEnd>> {
        Some(SessionWatch::next(self).await)
    }

    fn ended(&mut self) -> impl Future<Output = Option<WatchEnd>> + Send {
        SessionWatch::ended(self)
    }
}

impl Shown for SessionEntry {
    fn message(&self, format: Format) -> EncodedEvent {
        wire::encoded_session_event(self, format)
    }

    fn sse(&self) -> Bytes {
        wire::session_sse(self)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::pending, time::Duration};

    use super::*;

    /// Gives a batch after each of the pauses, then nothing more; `gone` says what it tells in a silence.
    struct Paused {
        pauses: VecDeque<Duration>,
        gone: bool,
    }

    impl Source for Paused {
        type Event = Arc<Entry>;

        async fn next(&mut self) -> Option<Result<Vec<Arc<Entry>>, WatchEnd>> {
            let Some(pause) = self.pauses.front().copied() else { return pending().await };
            sleep(pause).await;
            self.pauses.pop_front();
            Some(Ok(Vec::new()))
        }

        fn ended(&mut self) -> impl Future<Output = Option<WatchEnd>> + Send {
            ready(self.gone.then_some(WatchEnd::Draining))
        }
    }

    fn signals(pauses: &[u64], gone: bool) -> Signals<Paused> {
        let pauses = pauses.iter().map(|it| Duration::from_secs(*it)).collect();
        Signals::new(Paused { pauses, gone })
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_told_fifteen_seconds_after_whatever_came_last() {
        let begun = Instant::now();
        let mut signals = signals(&[10, 14], false);
        let mut told = Vec::new();
        for _ in 0..4 {
            let silent = matches!(signals.next().await, Some(Signal::Silence));
            told.push((begun.elapsed().as_secs(), silent));
        }
        assert_eq!(told, [(10, false), (24, false), (39, true), (54, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_silence_a_watch_that_has_nothing_to_wait_for_is_cut() {
        let mut signals = signals(&[], true);
        assert!(matches!(signals.next().await, Some(Signal::Cut(_))));
        assert!(signals.next().await.is_none() && signals.were_cut());
    }
}
