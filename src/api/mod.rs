//! The protocols: each decodes, calls an operation and encodes.

pub mod rpc;
