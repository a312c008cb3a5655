//! Clients that do as little as can be done, so that the server is what is measured. They are written for this
//! gateway's answers: what no server of ours sends, they do not know.

mod calls;
mod http1;
mod http2;
mod messages;
mod resting;
mod socket;
mod watcher;
mod websocket;

pub(crate) use calls::Calls;
pub(crate) use resting::Resting;
pub(crate) use watcher::{Followed, Protocol, Watcher};
