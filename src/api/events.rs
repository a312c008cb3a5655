//! The events of a watch, and its silences, as the body of a response: what every streaming protocol is made of.

use std::{convert::Infallible, future::ready, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    gateway::{SessionWatch, Watch, WatchEnd},
    model::{Entry, SessionEntry, limits},
    wire::{self, Format, MessageFormat},
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
    /// As a framed message of the service.
    fn framed(&self, format: MessageFormat) -> Bytes;

    /// As a message of an event stream.
    fn sse(&self) -> Bytes;
}

/// How a protocol writes a watch.
pub(super) trait Writing: Send + 'static {
    /// What comes before the first event, if anything does.
    fn beginning(&self) -> Option<Bytes>;

    /// One event.
    fn event(&self, event: &impl Shown) -> Bytes;

    /// What a silence is broken with.
    fn silence(&self) -> Bytes;

    /// What comes last, if anything does. `cut` says why the watch was cut short, if it was.
    fn end(&self, cut: Option<&WatchEnd>) -> Option<Frame<Bytes>>;
}

/// What there is to send.
enum Signal<E> {
    /// Events: all that were ready.
    Events(Vec<E>),
    /// Nothing has happened for the length of a heartbeat.
    Silence,
    /// The watch was cut short. Nothing follows.
    Cut(WatchEnd),
}

/// The signals of a watch.
struct Signals<S> {
    source: S,
    /// When the last signal was given.
    last: Instant,
    /// One timer for the whole watch. It is not moved at each signal but when it goes off too early.
    silence: Pin<Box<Sleep>>,
    cut: bool,
}

/// Writes the events of `source`. All that is ready goes out in one piece.
pub(super) fn body<S: Source, W: Writing>(
    source: S,
    writing: W,
) -> impl Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let mut signals = Signals::new(source);
    let frames = async_stream::stream! {
        if let Some(beginning) = writing.beginning() {
            yield Ok(Frame::data(beginning));
        }
        let mut cut = None;
        while let Some(signal) = signals.next().await {
            match signal {
                Signal::Events(events) => yield Ok(Frame::data(joined(&writing, &events))),
                Signal::Silence => yield Ok(Frame::data(writing.silence())),
                Signal::Cut(end) => cut = Some(end),
            }
        }
        if let Some(last) = writing.end(cut.as_ref()) {
            yield Ok(last);
        }
    };
    StreamBody::new(frames)
}

fn joined<E: Shown>(writing: &impl Writing, events: &[E]) -> Bytes {
    match events {
        [event] => writing.event(event),
        events => {
            let messages: Vec<_> = events.iter().map(|it| writing.event(it)).collect();
            let mut all = BytesMut::with_capacity(messages.iter().map(Bytes::len).sum());
            messages.iter().for_each(|it| all.extend_from_slice(it));
            all.freeze()
        }
    }
}

impl<S: Source> Signals<S> {
    /// The signals of `source`.
    fn new(source: S) -> Self {
        Self { source, last: Instant::now(), silence: Box::pin(sleep(limits::HEARTBEAT)), cut: false }
    }

    /// The next signal. `None` after the terminal event, or after [`Signal::Cut`].
    async fn next(&mut self) -> Option<Signal<S::Event>> {
        if self.cut {
            return None;
        }
        let next = tokio::select! {
            biased;
            next = self.source.next() => Some(next),
            () = silence_since(self.last, self.silence.as_mut()) => None,
        };
        self.last = Instant::now();
        let next = match next {
            Some(next) => next,
            None => match self.source.ended().await {
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
}

/// Returns when nothing has happened since `last` for the length of a heartbeat.
async fn silence_since(last: Instant, mut timer: Pin<&mut Sleep>) {
    let due = last + limits::HEARTBEAT;
    loop {
        timer.as_mut().await;
        if Instant::now() >= due {
            return;
        }
        timer.as_mut().reset(due);
    }
}

impl Source for Watch {
    type Event = Arc<Entry>;

    fn next(&mut self) -> impl Future<Output = Option<Result<Vec<Arc<Entry>>, WatchEnd>>> + Send {
        Watch::next(self)
    }
}

impl Shown for Arc<Entry> {
    fn framed(&self, format: MessageFormat) -> Bytes {
        wire::framed(self, format)
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
    fn framed(&self, format: MessageFormat) -> Bytes {
        wire::framed_session_event(self, format)
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
        assert!(signals.next().await.is_none());
    }
}
