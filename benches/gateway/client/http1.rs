//! The body of an HTTP/1.1 response in chunks.

/// Takes the head off a response and the chunks' sizes out of its body.
#[derive(Debug, Default)]
pub(super) struct Http1 {
    state: State,
    line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Size,
    Chunk(usize),
    AfterChunk,
    Ended,
}

impl Http1 {
    /// True when the head has been read.
    pub(super) fn answered(&self) -> bool {
        self.state != State::Head
    }

    /// True when the body has ended.
    pub(super) fn ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes up bytes from the wire and appends what they carry to `payload`.
    pub(super) fn take(&mut self, mut bytes: &[u8], payload: &mut Vec<u8>) {
        while !bytes.is_empty() {
            match self.state {
                State::Chunk(left) => {
                    let now = left.min(bytes.len());
                    payload.extend_from_slice(&bytes[..now]);
                    bytes = &bytes[now..];
                    self.state = if now == left { State::AfterChunk } else { State::Chunk(left - now) };
                }
                State::Ended => return,
                _ => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.line.extend_from_slice(bytes);
                        return;
                    };
                    self.line.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.end_of_line();
                }
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = self.line.trim_ascii();
        self.state = match self.state {
            State::Head if line.is_empty() => State::Size,
            State::Head => {
                let status = line.strip_prefix(b"HTTP/1.1 ");
                assert!(status.is_none_or(|it| it.starts_with(b"200")), "{}", String::from_utf8_lossy(line));
                State::Head
            }
            State::AfterChunk => State::Size,
            _ => {
                let size = str::from_utf8(line).ok().and_then(|it| usize::from_str_radix(it, 16).ok());
                match size.unwrap_or_else(|| panic!("no chunk size: {}", String::from_utf8_lossy(line))) {
                    0 => State::Ended,
                    size => State::Chunk(size),
                }
            }
        };
        self.line.clear();
    }
}
