//! Lines of a program's output, bounded in length.

use std::io;

use memchr::memchr;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The text; what is no UTF-8 is replaced.
    pub(super) text: String,
    /// True when the line was longer than allowed and its rest was dropped.
    pub(super) cut: bool,
}

/// Reads lines of at most `longest` bytes.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    longest: usize,
    partial: Vec<u8>,
    cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader: BufReader::new(reader), longest, partial: Vec::new(), cut: false }
    }

    /// The next line, also one without an end at the very end; `None` when there is no more.
    ///
    /// Cancel safe: what was read of a line is kept for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.read_before() {
                return Ok(Some(line));
            }
            if self.reader.fill_buf().await?.is_empty() {
                let left = !self.partial.is_empty() || self.cut;
                return Ok(left.then(|| self.take(0)));
            }
        }
    }

    /// The next line, if its end was read before.
    pub(super) fn read_before(&mut self) -> Option<Line> {
        let read = self.reader.buffer();
        let end = memchr(b'\n', read);
        let length = end.unwrap_or(read.len());
        let room = self.longest - self.partial.len();
        self.cut |= length > room;
        if end.is_some() && self.partial.is_empty() {
            let line = self.take(length.min(room));
            self.reader.consume(length + 1);
            return Some(line);
        }
        self.partial.extend_from_slice(&read[..length.min(room)]);
        self.reader.consume(end.map_or(length, |it| it + 1));
        end.map(|_| self.take(0))
    }

    /// A line of what is kept of it, or else of the next bytes in the buffer.
    fn take(&mut self, next: usize) -> Line {
        let bytes = if self.partial.is_empty() { &self.reader.buffer()[..next] } else { &self.partial[..] };
        let text = String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned();
        self.partial.clear();
        Line { text, cut: std::mem::take(&mut self.cut) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], longest: usize) -> Vec<(String, bool)> {
        let mut lines = Lines::new(text, longest);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push((line.text, line.cut));
        }
        all
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_or_with_the_output() {
        let expected =
            [("a", false), ("", false), ("b", false), ("c", false)].map(|(text, cut)| (text.to_owned(), cut));
        assert_eq!(lines(b"a\n\nb\r\nc", 10).await, expected);
        assert_eq!(lines(b"", 10).await, []);
    }

    #[tokio::test]
    async fn lines_that_were_read_before_are_there_at_once() {
        let (mut writer, reader) = tokio::io::duplex(64);
        let mut lines = Lines::new(reader, 4);
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"a\n\nlonger\nrest").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().text, "a");
        assert_eq!(lines.read_before(), Some(Line { text: String::new(), cut: false }));
        assert_eq!(lines.read_before(), Some(Line { text: "long".to_owned(), cut: true }));
        assert_eq!(lines.read_before(), None, "its end is still to come");
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"\n").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), Line { text: "rest".to_owned(), cut: false });
        drop(writer);
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        assert_eq!(lines(b"abcdef\nxy\n", 3).await, [("abc".to_owned(), true), ("xy".to_owned(), false)]);
        assert_eq!(lines(b"abc\n", 3).await, [("abc".to_owned(), false)]);
        assert_eq!(lines(b"abcd", 3).await, [("abc".to_owned(), true)]);
    }
}
