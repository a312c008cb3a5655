//! One file per protocol: decode, call the gateway, encode. All of them on one port.

pub mod rpc;

mod console;
mod cors;
mod document;
mod error;
mod events;
mod grpc;
mod health;
mod internal;
mod refusals;
mod router;
mod serve;
mod sse;
pub mod ws;

pub use cors::CorsSettings;
pub use internal::{InternalAccess, InternalSettings, internal_router};
pub use router::{ApiSettings, router};
pub use serve::{ListenSettings, Listener, serve};
pub use ws::WsSettings;
