//! The words of rungate as data and rules: no clock, no I/O, no protocol.

mod compact;
mod cursor;
mod entry;
mod error;
mod event;
mod event_bytes;
mod id;
mod idempotency;
pub mod limits;
mod repo;
mod request;
mod run;
mod secret;
mod session;
mod session_cursor;
mod view;
mod worker_key;

pub use compact::{Compactor, Superseded};
pub use cursor::{Cursor, CursorError, Position};
pub use entry::{Entry, SessionEntry};
pub use error::{Cause, Code};
pub use event::{Draft, Event, EventKind, NodeState, Usage};
pub use id::{IdError, RequestId, RunId, SessionId};
pub use idempotency::{Digest, IdempotencyKey};
pub use repo::{repo_name, shown_address};
pub use request::{Answer, Closed, Closing, Request, RequestKey, RequestKind, Requests};
pub use run::{Command, Outcome, Refused, Run, RunError, RunMachine, RunState, Stop};
pub use secret::Secret;
pub use session::{DEFAULT_USER, Session, SessionUpdate};
pub use session_cursor::{OpenRun, SessionPlace, SessionPosition};
pub use view::{ClientView, Graph, GraphEdge, GraphNode, UidGenerator, ViewContent};
pub use worker_key::WorkerKey;
