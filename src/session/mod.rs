//! Sessions: finding them, changing them, claiming them for a run, letting them go.

mod cookie;
mod expiry;
mod sessions;

pub use cookie::{COOKIE_NAME, session_cookie, session_id_of_cookies};
pub use expiry::sweep_unused;
pub use sessions::{
    ClaimError, Claimed, CreateSessionError, IfBusy, SessionBusy, SessionError, SessionNotFound,
    SessionQueueFull, Sessions, SessionsUnavailable, TooManySessions,
};

// How finding or changing a session fails when its store does.
pub use crate::storage::StoreError;
