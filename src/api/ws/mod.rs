//! `GET /ws`: one socket on which a client starts any number of runs, watches them and answers them, in JSON texts.
//!
//! Reading order: `upgrade` (who may come in) → [`message`] (what can be said) → `connection` (the life of a socket) →
//! `operations` (what messages do) → `watches` (whose events go next) → `socket` (frames, the queue, the end).

mod close;
mod connection;
mod message;
mod operations;
mod settings;
mod socket;
mod upgrade;
mod watches;

pub use message::{AgentInvoke, ClientMessage, Hello, Invalid, Received, parse};
pub use settings::WsSettings;
pub(super) use upgrade::{Door, enter};
