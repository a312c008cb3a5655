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
    /// As a protobuf message.
    fn message(&self) -> EncodedEvent;

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
    fn message(&self) -> EncodedEvent {
        wire::encoded_event(self)
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
    fn message(&self) -> EncodedEvent {
        wire::encoded_session_event(self)
    }

    fn sse(&self) -> Bytes {
        wire::session_sse(self)
    }
}
