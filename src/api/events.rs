//! A watch as a stream that also tells of its silences: what every streaming protocol is made of.

use std::sync::Arc;

use futures::Stream;
use tokio::time::timeout;

use crate::{
    gateway::{Watch, WatchEnd},
    model::{Entry, limits},
};

/// What there is to send.
pub(super) enum Signal {
    /// Events: all that were ready.
    Events(Vec<Arc<Entry>>),
    /// Nothing has happened for the length of a heartbeat.
    Silence,
    /// The watch was cut short. Nothing follows.
    Cut(WatchEnd),
}

/// The signals of a watch. Ends after the terminal event, or after [`Signal::Cut`].
pub(super) fn signals(mut watch: Watch) -> impl Stream<Item = Signal> + Send {
    async_stream::stream! {
        loop {
            match timeout(limits::HEARTBEAT, watch.next()).await {
                Err(_) => yield Signal::Silence,
                Ok(Some(Ok(entries))) => yield Signal::Events(entries),
                Ok(Some(Err(end))) => {
                    yield Signal::Cut(end);
                    break;
                }
                Ok(None) => break,
            }
        }
    }
}
