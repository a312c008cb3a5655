//! Plain lines for a pipe or a file: the run's progress, then what is said.

use std::io::{self, Write};

use super::{
    Render,
    story::{Place, Said, Story},
};
use crate::wire::v1;

/// Writes the story to `out` and notices to `err`.
pub(super) struct Plain<O, E> {
    out: O,
    err: E,
    story: Story,
    in_piece: bool,
}

impl<O: Write, E: Write> Plain<O, E> {
    pub(super) fn new(out: O, err: E, pipeline: &str) -> Self {
        Self { out, err, story: Story::new(pipeline), in_piece: false }
    }

    /// Ends the line of a streamed text.
    fn end_piece(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_piece) {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }
}

impl<O: Write, E: Write> Render for Plain<O, E> {
    fn event(&mut self, event: &v1::WatchRunResponse) -> io::Result<()> {
        match self.story.tell(event) {
            Said::Piece(piece) => {
                self.out.write_all(piece.as_bytes())?;
                if !piece.is_empty() {
                    self.in_piece = !piece.ends_with('\n');
                }
            }
            Said::Lines(lines) => {
                if !lines.is_empty() {
                    self.end_piece()?;
                }
                for line in lines {
                    match line.place {
                        Place::Below => writeln!(self.out, "{}", line.text)?,
                        _ => {
                            let text = format!("[{:>3}%] {}", self.story.percent(), line.text);
                            writeln!(self.out, "{}", text.trim_end())?;
                        }
                    }
                }
            }
        }
        self.out.flush()
    }

    fn notice(&mut self, text: &str) -> io::Result<()> {
        // Notices are an extra; when nobody reads them the story goes on.
        drop(writeln!(self.err, "rungate: {text}"));
        Ok(())
    }

    fn prompt(&mut self) -> io::Result<()> {
        drop(write!(self.err, "> ").and_then(|()| self.err.flush()));
        Ok(())
    }

    fn answered(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn status(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_piece()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{EventType, watch_run_response::Detail};

    fn event(event_type: EventType, message: &str, percent: i32) -> v1::WatchRunResponse {
        v1::WatchRunResponse {
            event_type: event_type.into(),
            message: message.to_owned(),
            progress_percent: percent,
            ..Default::default()
        }
    }

    fn delta(text: &str) -> v1::WatchRunResponse {
        let detail = Some(Detail::Delta(v1::DeltaDetail { text: text.to_owned() }));
        v1::WatchRunResponse { detail, ..event(EventType::Delta, "", 30) }
    }

    #[test]
    fn a_pipe_reads_lines_without_any_escape() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut plain = Plain::new(&mut out, &mut err, "count");
        plain.event(&event(EventType::Log, "Step 1", 10)).unwrap();
        plain.event(&event(EventType::Progress, "", 30)).unwrap();
        for piece in ["some ", "words"] {
            plain.event(&delta(piece)).unwrap();
        }
        plain.notice("beside").unwrap();
        plain.tick().unwrap();
        plain.event(&event(EventType::Complete, "Done", 100)).unwrap();
        plain.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "[ 10%] Step 1\n[ 30%]\nsome words\n[100%] ✓ Done\n");
        assert_eq!(err, b"rungate: beside\n");
    }
}
