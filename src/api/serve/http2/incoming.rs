//! What the frames of a client do.

use bytes::{Buf as _, Bytes, BytesMut};
use http::StatusCode;

use super::{
    super::sniff::HTTP2_PREFACE,
    HEAD_BYTES,
    connection::{Begun, Connection, Phase},
    frame::{
        ACK, END_HEADERS, END_STREAM, FRAME_BYTES, FRAME_HEAD_BYTES, FrameHead, Kind, Reason, Violation,
        frame, protocol_error, u31,
    },
    request::{BadHead, Fields, told_length},
    response, settings,
    stream::Stream,
};

/// Bytes of a head as it is compressed, in all its frames. One that is longer cannot be told that it is too long, as it would
/// have to be read for that.
const BLOCK_BYTES: usize = 4 * HEAD_BYTES;

/// Bytes of a farewell at the least.
const GO_AWAY_BYTES: usize = 8;

/// A head whose end has not come.
pub(super) struct HeadBlock {
    stream: u32,
    ends_stream: bool,
    fragments: BytesMut,
    /// Bytes of all its frames: a frame counts also when nothing is in it.
    counted: usize,
}

impl Connection<'_> {
    /// Takes the whole frames of what has come.
    pub(super) fn take_frames(&mut self) -> Result<(), Violation> {
        if self.begun == Begun::Nothing {
            if self.input.len() < HTTP2_PREFACE.len() {
                return Ok(());
            }
            if self.input.split_to(HTTP2_PREFACE.len()) != HTTP2_PREFACE {
                return Err(protocol_error("not a connection of HTTP/2"));
            }
            self.begun = Begun::Preface;
        }
        while let Some(bytes) = self.input.first_chunk() {
            let head = FrameHead::read(*bytes);
            if head.length > FRAME_BYTES {
                return Err(Violation::Connection(Reason::FrameSizeError, "a frame is too long"));
            }
            if self.input.len() < FRAME_HEAD_BYTES + head.length {
                break;
            }
            self.input.advance(FRAME_HEAD_BYTES);
            let payload = self.input.split_to(head.length).freeze();
            match self.take_frame(head, payload) {
                Err(Violation::Stream(stream, reason)) => self.reset(stream, reason)?,
                taken => taken?,
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(())
    }

    /// Whether a head has begun to come of which not even a frame is whole.
    pub(super) fn awaits_head(&self) -> bool {
        let head = self.input.first_chunk().map(|it| FrameHead::read(*it).kind);
        matches!(head, Some(Kind::Headers | Kind::Continuation))
    }

    fn take_frame(&mut self, head: FrameHead, payload: Bytes) -> Result<(), Violation> {
        if self.begun != Begun::Settings {
            if head.kind != Kind::Settings || head.has(ACK) {
                return Err(protocol_error("settings do not come first"));
            }
            self.begun = Begun::Settings;
        }
        let goes_on = head.kind == Kind::Continuation;
        if self.block.as_ref().map(|it| it.stream) != goes_on.then_some(head.stream) {
            return Err(protocol_error("the frames of a head are not together"));
        }
        self.check(head)?;
        match head.kind {
            Kind::Data => self.take_data(head, payload),
            Kind::Headers => self.begin_head(head, payload),
            Kind::Continuation => self.continue_head(head, &payload),
            Kind::Priority => depends_on_another(head.stream, u31(&payload)),
            Kind::RstStream => self.take_reset(head.stream),
            Kind::Settings => self.take_settings(head, &payload),
            Kind::Ping => {
                if head.has(ACK) {
                    self.ping_answered(&payload);
                } else {
                    self.way.out.push(frame(Kind::Ping, ACK, 0, &payload));
                }
                Ok(())
            }
            Kind::WindowUpdate => self.take_window(head.stream, u31(&payload)),
            Kind::PushPromise => Err(protocol_error("a client cannot push")),
            // The client opens no more streams: the connection ends with those that there are.
            Kind::GoAway => {
                self.phase = Phase::Left;
                Ok(())
            }
            Kind::Unknown(_) => Ok(()),
        }
    }

    /// Whether a frame has the length of its kind, and is about a stream or the connection as it should be.
    fn check(&self, head: FrameHead) -> Result<(), Violation> {
        if head.kind.fixed_length().is_some_and(|it| it != head.length) {
            // Who depends on whom is nothing that a connection would end for.
            return Err(match head.kind {
                Kind::Priority if head.stream > 0 => Violation::Stream(head.stream, Reason::FrameSizeError),
                _ => Violation::Connection(Reason::FrameSizeError, "a frame of a wrong length"),
            });
        }
        if head.kind == Kind::GoAway && head.length < GO_AWAY_BYTES {
            return Err(Violation::Connection(Reason::FrameSizeError, "a farewell that is too short"));
        }
        let fits = match head.kind {
            Kind::Settings | Kind::Ping | Kind::GoAway => head.stream == 0,
            Kind::WindowUpdate | Kind::Unknown(_) => true,
            _ => head.stream > 0,
        };
        if !fits {
            return Err(protocol_error("a frame about a stream that it cannot be about"));
        }
        let about_open = matches!(head.kind, Kind::Data | Kind::RstStream | Kind::WindowUpdate);
        if about_open && head.stream > self.last {
            return Err(protocol_error("a frame about a stream that was never opened"));
        }
        Ok(())
    }

    fn take_data(&mut self, head: FrameHead, payload: Bytes) -> Result<(), Violation> {
        let counted = payload.len();
        let left = self.window.checked_sub(counted);
        self.window =
            left.ok_or(Violation::Connection(Reason::FlowControlError, "more data than was allowed"))?;
        let data = head.unpadded(payload)?;
        let Some(stream) = self.streams.get_mut(head.stream) else {
            self.discard(counted);
            return match self.has_ended_first(head.stream) {
                true => Ok(()),
                false => Err(Violation::Stream(head.stream, Reason::StreamClosed)),
            };
        };
        let taken = match stream.request_ended() {
            true => Err(Reason::StreamClosed),
            false => stream.receive(data, counted, head.has(END_STREAM)),
        };
        taken.map_err(|reason| {
            self.discard(counted);
            Violation::Stream(head.stream, reason)
        })
    }

    fn begin_head(&mut self, head: FrameHead, payload: Bytes) -> Result<(), Violation> {
        let (fragment, depends) = head.fragment(payload)?;
        let block = HeadBlock {
            stream: head.stream,
            ends_stream: head.has(END_STREAM),
            fragments: BytesMut::from(&fragment[..]),
            counted: fragment.len(),
        };
        if head.has(END_HEADERS) {
            self.take_head(block)?;
        } else {
            self.block = Some(block);
        }
        depends.map_or(Ok(()), |it| depends_on_another(head.stream, it))
    }

    fn continue_head(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Violation> {
        let Some(mut block) = self.block.take() else { return Ok(()) };
        block.counted += FRAME_HEAD_BYTES + payload.len();
        if block.counted > BLOCK_BYTES {
            return Err(Violation::Connection(Reason::EnhanceYourCalm, "a head is too long"));
        }
        block.fragments.extend_from_slice(payload);
        if head.has(END_HEADERS) {
            return self.take_head(block);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A head that is whole: a request, or what follows the body of one. It is read also when nobody wants it, as later heads refer
    /// to it.
    fn take_head(
        &mut self,
        HeadBlock { stream, ends_stream, fragments, .. }: HeadBlock,
    ) -> Result<(), Violation> {
        let mut fields = Fields::default();
        let read = self.decoder.decode(&fragments, |it| fields.add(it));
        read.map_err(|_| Violation::Connection(Reason::CompressionError, "a head cannot be read"))?;
        self.heads = self.heads.wrapping_add(1);
        if stream <= self.last {
            return self.take_trailers(stream, ends_stream, fields);
        }
        if stream % 2 == 0 {
            return Err(protocol_error("a stream with a number of the server's"));
        }
        self.last = stream;
        if self.phase == Phase::Left || self.streams.len() >= self.settings.max_streams as usize {
            return Err(Violation::Stream(stream, Reason::RefusedStream));
        }
        match fields.request() {
            Ok(request) => self.begin_stream(stream, request, ends_stream),
            Err(BadHead::Malformed) => Err(Violation::Stream(stream, Reason::ProtocolError)),
            Err(BadHead::TooLong) => {
                let (status, begin) = (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, self.way.begin_head());
                self.way.out.push(response::status(stream, status, begin));
                if ends_stream { Ok(()) } else { Err(Violation::Stream(stream, Reason::NoError)) }
            }
        }
    }

    fn begin_stream(
        &mut self,
        stream: u32,
        request: http::Request<()>,
        ends_stream: bool,
    ) -> Result<(), Violation> {
        let malformed = Violation::Stream(stream, Reason::ProtocolError);
        let length = told_length(request.headers()).map_err(|_| malformed)?;
        if ends_stream && length.is_some_and(|it| it > 0) {
            return Err(malformed);
        }
        let body = (!ends_stream).then_some(length);
        let window = self.way.initial_window;
        self.streams.push(Stream::new(stream, request, body, &self.router, &self.ready, window));
        Ok(())
    }

    fn take_trailers(&mut self, number: u32, ends_stream: bool, fields: Fields) -> Result<(), Violation> {
        let failed = |reason| Violation::Stream(number, reason);
        let Some(stream) = self.streams.get_mut(number) else {
            return match self.has_ended_first(number) {
                true => Ok(()),
                false => {
                    Err(Violation::Connection(Reason::StreamClosed, "a head on a stream that has ended"))
                }
            };
        };
        if stream.request_ended() {
            return Err(failed(Reason::StreamClosed));
        }
        if !ends_stream {
            return Err(failed(Reason::ProtocolError));
        }
        let trailers = fields.trailers().map_err(|_| failed(Reason::ProtocolError))?;
        stream.end_request(Some(trailers)).map_err(failed)
    }

    fn take_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Violation> {
        if head.has(ACK) {
            return match payload {
                [] => Ok(()),
                _ => {
                    Err(Violation::Connection(Reason::FrameSizeError, "an answer to settings has no payload"))
                }
            };
        }
        let told = settings::read(payload)?;
        self.way.tells_no_table |= told.small_table;
        if let Some(window) = told.window {
            let by = window - self.way.initial_window;
            self.way.initial_window = window;
            let widened = self.streams.iter_mut().try_for_each(|it| it.widen(by));
            widened.ok_or(TOO_LARGE_WINDOW)?;
        }
        self.way.out.push(frame(Kind::Settings, ACK, 0, &[]));
        Ok(())
    }

    fn take_window(&mut self, stream: u32, by: u32) -> Result<(), Violation> {
        if stream == 0 {
            if by == 0 {
                return Err(protocol_error("a window that grows by nothing"));
            }
            self.way.window += i64::from(by);
            if self.way.window > settings::MAX_WINDOW {
                return Err(TOO_LARGE_WINDOW);
            }
            return Ok(());
        }
        let Some(open) = self.streams.get_mut(stream) else { return Ok(()) };
        if by == 0 {
            return Err(Violation::Stream(stream, Reason::ProtocolError));
        }
        open.widen(i64::from(by)).ok_or(Violation::Stream(stream, Reason::FlowControlError))
    }
}

const TOO_LARGE_WINDOW: Violation = Violation::Connection(Reason::FlowControlError, "too large a window");

/// A stream cannot depend on itself (RFC 7540, section 5.3.1); what else it depends on means nothing here.
fn depends_on_another(stream: u32, on: u32) -> Result<(), Violation> {
    if stream == on { Err(Violation::Stream(stream, Reason::ProtocolError)) } else { Ok(()) }
}
