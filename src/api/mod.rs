//! One file per protocol: decode, call the gateway, encode. All of them on one port.

pub mod rpc;

mod console;
mod cors;
mod document;
mod error;
mod events;
mod grpc;
mod health;
mod router;
mod serve;
mod sse;
pub mod ws;

pub use cors::CorsSettings;
pub use router::{ApiSettings, internal_router, router};
pub use serve::{ListenSettings, Listener, serve};
pub use ws::WsSettings;
