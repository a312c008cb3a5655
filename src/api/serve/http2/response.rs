//! A response's head as frames.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts};
use http_body::Body as _;

use super::{
    super::http_date,
    frame::head_frames,
    hpack::{encode, encode_status},
};

/// The frames of the head of a response, after what it begins with. It ends the stream when there is no body.
pub(super) fn head(stream: u32, parts: &Parts, body: &Body, mut head: Vec<u8>) -> Bytes {
    let ends_stream = body.is_end_stream();
    encode_status(parts.status, &mut head);
    encode_all(&parts.headers, &mut head);
    if !parts.headers.contains_key(header::DATE) {
        encode(&header::DATE, &http_date(), &mut head);
    }
    if let Some(length) = body.size_hint().exact()
        && !ends_stream
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        encode(&header::CONTENT_LENGTH, &HeaderValue::from(length), &mut head);
    }
    head_frames(stream, &head, ends_stream)
}

/// The frame of a response that has nothing but a status.
pub(super) fn status(stream: u32, status: StatusCode, mut head: Vec<u8>) -> Bytes {
    encode_status(status, &mut head);
    head_frames(stream, &head, true)
}

/// The frames of what follows a body, and ends the stream.
pub(super) fn trailers(stream: u32, trailers: &HeaderMap, mut head: Vec<u8>) -> Bytes {
    encode_all(trailers, &mut head);
    head_frames(stream, &head, true)
}

fn encode_all(headers: &HeaderMap, head: &mut Vec<u8>) {
    let of_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
    for (name, value) in headers {
        // What is the connection's is no business of a response over HTTP/2 (RFC 9113, section 8.2.2).
        if !of_connection.contains(name) {
            encode(name, value, head);
        }
    }
}
