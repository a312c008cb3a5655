//! A gRPC request body that is checked while tonic reads it.
//!
//! A violation ends the body with a `tonic::Status` as its error, which tonic hands on unchanged: a method with
//! one request message fails before its handler is called, a stream of messages ends with the status.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};
use tower_http::timeout::TimeoutError;

use crate::api::rpc::told::Teller;

/// A gRPC message is preceded by a flag and its length in four bytes, big-endian.
const PREFIX_BYTES: usize = 5;

/// The body; its bytes pass as they are.
pub(super) struct CheckedRequest {
    /// None once the request has ended or failed.
    body: Option<Body>,
    messages: Messages,
    teller: Teller,
}

/// Counts the messages of a body without holding on to them.
struct Messages {
    message_bytes: usize,
    one_message: bool,
    /// Messages whose prefix was seen.
    begun: usize,
    /// The prefix that is being read, and how much of it was read.
    prefix: [u8; PREFIX_BYTES],
    prefix_read: usize,
    /// What is left of the message after the last prefix.
    rest: usize,
}

/// What a client did wrong.
#[derive(Debug, PartialEq, thiserror::Error)]
enum Violation {
    #[error("the message has {bytes} bytes; at most {limit} are taken")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the method takes one request message, but none was sent")]
    Missing,
    #[error("the method takes one request message, but several were sent")]
    Several,
    #[error("the request fell silent before its end")]
    Silent,
}

impl CheckedRequest {
    /// `message_bytes` bounds each message as it is on the wire; `one_message` says that the method takes
    /// exactly one.
    pub(super) fn new(body: Body, message_bytes: usize, one_message: bool, teller: Teller) -> Self {
        Self { body: Some(body), messages: Messages::new(message_bytes, one_message), teller }
    }

    fn fail(&mut self, violation: Violation) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.body = None;
        Poll::Ready(Some(Err(axum::Error::new(violation.status(self.teller)))))
    }
}

impl http_body::Body for CheckedRequest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let seen = match frame.data_ref() {
                    Some(chunk) => self.messages.see(chunk),
                    // Trailers are the other way for a request to end.
                    None => self.messages.end(),
                };
                match seen {
                    Ok(()) => Poll::Ready(Some(Ok(frame))),
                    Err(violation) => self.fail(violation),
                }
            }
            Some(Err(error)) if is_timeout(&error) => self.fail(Violation::Silent),
            Some(Err(error)) => {
                self.body = None;
                Poll::Ready(Some(Err(error)))
            }
            None => match self.messages.end() {
                Ok(()) => {
                    self.body = None;
                    Poll::Ready(None)
                }
                Err(violation) => self.fail(violation),
            },
        }
    }

    /// Never before the last poll, which is where a missing message is found.
    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Messages {
    fn new(message_bytes: usize, one_message: bool) -> Self {
        Self { message_bytes, one_message, begun: 0, prefix: [0; PREFIX_BYTES], prefix_read: 0, rest: 0 }
    }

    fn see(&mut self, mut chunk: &[u8]) -> Result<(), Violation> {
        loop {
            let skipped = self.rest.min(chunk.len());
            self.rest -= skipped;
            chunk = &chunk[skipped..];
            if chunk.is_empty() {
                return Ok(());
            }
            let taken = (PREFIX_BYTES - self.prefix_read).min(chunk.len());
            self.prefix[self.prefix_read..][..taken].copy_from_slice(&chunk[..taken]);
            self.prefix_read += taken;
            chunk = &chunk[taken..];
            if self.prefix_read == PREFIX_BYTES {
                self.begin()?;
            }
        }
    }

    fn begin(&mut self) -> Result<(), Violation> {
        let [_flag, length @ ..] = self.prefix;
        let bytes = u32::from_be_bytes(length) as usize;
        self.begun += 1;
        if self.one_message && self.begun > 1 {
            return Err(Violation::Several);
        }
        if bytes > self.message_bytes {
            return Err(Violation::TooLarge { bytes, limit: self.message_bytes });
        }
        self.prefix_read = 0;
        self.rest = bytes;
        Ok(())
    }

    /// A message that was begun and not finished is tonic's to complain about.
    fn end(&self) -> Result<(), Violation> {
        match self.one_message && self.begun == 0 && self.prefix_read == 0 {
            true => Err(Violation::Missing),
            false => Ok(()),
        }
    }
}

/// True for a body that was waited for long enough.
fn is_timeout(error: &axum::Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |it| it.source()).any(|it| it.is::<TimeoutError>())
}

impl Violation {
    fn status(&self, teller: Teller) -> Status {
        let (code, reason) = match self {
            Self::TooLarge { .. } => (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            Self::Silent => (Code::DeadlineExceeded, "REQUEST_SILENT"),
            Self::Missing | Self::Several => (Code::Unimplemented, "REQUEST_CARDINALITY"),
        };
        teller.status(code, reason, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[usize]) -> Vec<u8> {
        let mut wire = Vec::new();
        for &bytes in messages {
            wire.push(0);
            wire.extend((bytes as u32).to_be_bytes());
            wire.extend(std::iter::repeat_n(0xff, bytes));
        }
        wire
    }

    fn seen(messages: &mut Messages, wire: &[u8], chunk: usize) -> Result<(), Violation> {
        wire.chunks(chunk).try_for_each(|chunk| messages.see(chunk))?;
        messages.end()
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_they_are_cut(
            lengths in prop::collection::vec(0_usize..40, 0..6), chunk in 1_usize..64,
        ) {
            let mut messages = Messages::new(40, false);
            prop_assert_eq!(seen(&mut messages, &framed(&lengths), chunk), Ok(()));
            prop_assert_eq!(messages.begun, lengths.len());
        }

        #[test]
        fn exactly_one_message_passes_where_one_is_due(
            lengths in prop::collection::vec(0_usize..40, 0..4), chunk in 1_usize..64,
        ) {
            let expected = match lengths.len() {
                0 => Err(Violation::Missing),
                1 => Ok(()),
                _ => Err(Violation::Several),
            };
            prop_assert_eq!(seen(&mut Messages::new(40, true), &framed(&lengths), chunk), expected);
        }
    }

    #[test]
    fn the_limit_itself_passes_and_one_more_does_not() {
        assert_eq!(seen(&mut Messages::new(8, true), &framed(&[8]), 3), Ok(()));
        let too_large = Violation::TooLarge { bytes: 9, limit: 8 };
        assert_eq!(seen(&mut Messages::new(8, true), &framed(&[9]), 3), Err(too_large));
    }
}
