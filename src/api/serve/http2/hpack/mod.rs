//! The compression of heads (HPACK, RFC 7541).
//!
//! What a client sends is decoded in full, with its table. What goes to a client is written with the fields that are known
//! beforehand and without a table: responses are few beside their events, and a table would be kept for each connection.

mod decode;
mod encode;
mod huffman;
mod table;

pub(super) use decode::{Decoder, Malformed};
pub(super) use encode::{NO_TABLE, encode, encode_status};
pub(super) use table::Field;

/// Bytes of fields that a client may have kept for later heads: what the protocol begins with. They are dropped oldest first.
pub(super) const TABLE_BYTES: usize = 4096;
