//! The messages of a WebSocket: what a client may say, and what the gateway says that is no event of a run.

mod client;
mod fields;
#[cfg(test)]
mod properties;
mod server;

pub use client::{AgentInvoke, ClientMessage, Hello, Invalid, Received, parse};
pub(super) use server::{Told, acknowledged, hello_ack, of_run, pong, refused};
