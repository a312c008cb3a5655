//! Server-sent events, cut out of a stream of bytes with a bound on each event.

/// Finds events in bytes. Only their data is kept: names and ids mean nothing in Chat Completions.
pub(super) struct SseDecoder {
    line: Vec<u8>,
    data: Vec<u8>,
    /// True when the event at hand has a `data` line, be it empty.
    has_data: bool,
    /// True right after a carriage return: a line feed that follows belongs to it.
    after_cr: bool,
    limit: usize,
}

/// A line or an event was longer than the bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl SseDecoder {
    /// Holds at most about `limit` bytes of a line and as many of an event.
    pub(super) fn new(limit: usize) -> Self {
        Self { line: Vec::new(), data: Vec::new(), has_data: false, after_cr: false, limit }
    }

    /// Takes bytes in; the data of events that they complete is appended to `events`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], events: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + part.len() > self.limit {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { return Ok(()) };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.end_line(events)?;
        }
        Ok(())
    }

    /// The event at hand when the stream ends. The standard drops it; servers that forget the last empty line exist.
    pub(super) fn finish(mut self, events: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        self.end_line(events)?;
        self.end_event(events);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.end_event(events);
        } else if let Some(value) = field_value(&line, b"data") {
            if self.data.len() + value.len() >= self.limit {
                return Err(TooLong);
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        Ok(())
    }

    fn end_event(&mut self, events: &mut Vec<Vec<u8>>) {
        if std::mem::take(&mut self.has_data) {
            events.push(std::mem::take(&mut self.data));
        }
    }
}

/// The value of the field `name`, without the one space that may stand in front. `None`: another field, or a comment.
fn field_value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(parts: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut events) = (SseDecoder::new(1000), Vec::new());
        for part in parts {
            decoder.feed(part, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        events.into_iter().map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn data_is_found_whatever_ends_the_lines() {
        assert_eq!(decode(&[b"data: a\n\ndata:b\r\n\r\ndata: c\r\r"]), ["a", "b", "c"]);
        assert_eq!(decode(&[b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]), ["a\nb"]);
    }

    #[test]
    fn comments_names_and_ids_are_passed_over() {
        assert_eq!(decode(&[b": hi\n\nevent: x\nid: 1\ndatum: no\ndata: a\n\n\n\n"]), ["a"]);
    }

    #[test]
    fn an_event_without_its_last_empty_line_counts() {
        assert_eq!(decode(&[b"data: a\n\ndata: [DONE]"]), ["a", "[DONE]"]);
    }

    #[test]
    fn endless_lines_and_endless_events_are_refused() {
        let mut decoder = SseDecoder::new(16);
        assert_eq!(decoder.feed(b"data: 0123456789", &mut Vec::new()), Ok(()));
        assert_eq!(decoder.feed(b"0", &mut Vec::new()), Err(TooLong));
        let mut decoder = SseDecoder::new(16);
        assert_eq!(decoder.feed(b"data: 01234567\n", &mut Vec::new()), Ok(()));
        assert_eq!(decoder.feed(b"data: 01234567\n", &mut Vec::new()), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference(cuts in prop::collection::vec(1usize..7, 0..40)) {
            let whole = "data: {\"a\":\"ä\"}\r\n\r\n: x\ndata: 1\ndata: 2\n\n\rdata: [DONE]\r\n\r\n".as_bytes();
            let mut parts = Vec::new();
            let mut rest = whole;
            for cut in cuts {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = after;
            }
            parts.push(rest);
            prop_assert_eq!(decode(&parts), decode(&[whole]));
        }
    }
}
