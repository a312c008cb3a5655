//! A terminal: the story above, what moves below it.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use tokio::time::Instant;

use super::{
    Render,
    bar::Bar,
    story::{Place, Said, Story},
    style::{Paint, Tone},
    text,
};
use crate::wire::v1;

/// Workers that are shown at work at a time; of the others only the number.
const SHOWN_WORKERS: usize = 5;

/// Returns to the beginning of the line and clears it and all below.
const CLEAR_BELOW: &str = "\r\u{1b}[J";

/// Draws on `out`, a terminal; notices go to `err`, which may be another place.
pub(super) struct Terminal<O, E> {
    out: O,
    err: E,
    paint: Paint,
    story: Story,
    status: String,
    began: Instant,
    turn: usize,
    columns: fn() -> usize,
    /// Lines of the moving part that are on the screen; the cursor is at the end of the last.
    drawn: usize,
    /// The cursor is within the line of a streamed text, where nothing moving can be drawn.
    in_piece: bool,
    prompting: bool,
    over: bool,
}

impl<O: Write, E: Write> Terminal<O, E> {
    pub(super) fn new(out: O, err: E, paint: Paint, pipeline: &str) -> Self {
        Self {
            out,
            err,
            paint,
            story: Story::new(pipeline),
            status: String::new(),
            began: Instant::now(),
            turn: 0,
            columns: text::terminal_columns,
            drawn: 0,
            in_piece: false,
            prompting: false,
            over: false,
        }
    }

    /// What takes away the moving part, or a prompt.
    fn erase(&mut self) -> String {
        let mut erased = String::new();
        if self.drawn > 1 {
            let _infallible = write!(erased, "\u{1b}[{}A", self.drawn - 1);
        }
        if self.drawn > 0 || self.prompting {
            erased.push_str(CLEAR_BELOW);
        }
        self.drawn = 0;
        erased
    }

    /// The moving part, or the prompt again.
    fn draw(&mut self) -> String {
        if self.prompting {
            return self.paint.paint(Tone::Asking, "> ");
        }
        if self.in_piece || self.over {
            return String::new();
        }
        let columns = (self.columns)().saturating_sub(1);
        let mut lines = self.workers(columns);
        let state = self.story.state().map(text::state_name).unwrap_or_default();
        let status = if state.is_empty() { self.status.as_str() } else { &state };
        let bar = Bar {
            label: self.story.pipeline(),
            percent: self.story.percent(),
            turn: self.turn,
            elapsed: self.began.elapsed(),
            status,
        };
        lines.push(bar.line(columns, self.paint));
        self.drawn = lines.len();
        lines.join("\n")
    }

    /// The workers at work, when there is more than the run itself to see.
    fn workers(&self, columns: usize) -> Vec<String> {
        let at_work: Vec<_> = self.story.at_work().collect();
        if at_work.len() == 1 && at_work[0].0.eq_ignore_ascii_case(self.story.pipeline()) {
            return Vec::new();
        }
        let shown = at_work.iter().take(SHOWN_WORKERS).map(|(key, it)| {
            let line = text::cut(&format!("  ▸ {} {}%", text::one_line(key), it.percent), columns);
            self.paint.paint(Tone::Quiet, &line)
        });
        let mut lines: Vec<_> = shown.collect();
        if at_work.len() > SHOWN_WORKERS {
            lines.push(text::cut(&format!("  … and {} more", at_work.len() - SHOWN_WORKERS), columns));
        }
        lines
    }

    /// Writes `above` where the story ends, and the moving part below it, in one go so that nothing flickers.
    fn show(&mut self, above: &str) -> io::Result<()> {
        let mut frame = self.erase();
        frame.push_str(above);
        frame.push_str(&self.draw());
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    /// Ends the line of a streamed text.
    fn end_piece(&mut self) -> &'static str {
        if std::mem::take(&mut self.in_piece) { "\n" } else { "" }
    }
}

impl<O: Write, E: Write> Render for Terminal<O, E> {
    fn event(&mut self, event: &v1::WatchRunResponse) -> io::Result<()> {
        self.over = matches!(
            event.event_type(),
            v1::EventType::Complete | v1::EventType::Error | v1::EventType::Cancelled
        );
        let above = match self.story.tell(event) {
            Said::Piece(piece) if piece.is_empty() => String::new(),
            Said::Piece(piece) => {
                self.in_piece = !piece.ends_with('\n');
                piece
            }
            Said::Lines(lines) => {
                let mut above = String::new();
                for line in lines.iter().filter(|it| it.place != Place::Progress) {
                    above.push_str(self.end_piece());
                    above.push_str(&self.paint.paint(line.tone, &line.text));
                    above.push('\n');
                }
                above
            }
        };
        self.show(&above)
    }

    fn notice(&mut self, text: &str) -> io::Result<()> {
        let mut above = self.erase();
        above.push_str(self.end_piece());
        self.out.write_all(above.as_bytes())?;
        self.out.flush()?;
        // Notices are an extra; when nobody reads them the story goes on.
        drop(writeln!(self.err, "rungate: {text}").and_then(|()| self.err.flush()));
        self.show("")
    }

    fn prompt(&mut self) -> io::Result<()> {
        let mut frame = self.erase();
        frame.push_str(self.end_piece());
        self.prompting = true;
        frame.push_str(&self.draw());
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }

    fn answered(&mut self) -> io::Result<()> {
        let erased = self.erase();
        self.prompting = false;
        self.out.write_all(erased.as_bytes())?;
        self.out.flush()
    }

    fn status(&mut self, text: &str) -> io::Result<()> {
        text.clone_into(&mut self.status);
        self.show("")
    }

    fn tick(&mut self) -> io::Result<()> {
        if self.prompting || self.in_piece {
            return Ok(());
        }
        self.turn += 1;
        self.show("")
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut frame = self.erase();
        self.prompting = false;
        frame.push_str(self.end_piece());
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{EventType, watch_run_response::Detail};

    fn event(event_type: EventType, message: &str) -> v1::WatchRunResponse {
        v1::WatchRunResponse {
            event_type: event_type.into(),
            message: message.to_owned(),
            progress_percent: 40,
            ..Default::default()
        }
    }

    fn shown(act: impl FnOnce(&mut Terminal<&mut Vec<u8>, &mut Vec<u8>>)) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new(&mut out, &mut err, Paint::plain(), "count");
        terminal.columns = || 60;
        act(&mut terminal);
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_line_goes_above_the_bar() {
        let (out, _) = shown(|terminal| {
            terminal.tick().unwrap();
            terminal.event(&event(EventType::Log, "Step 1")).unwrap();
        });
        let frames: Vec<_> = out.split(CLEAR_BELOW).collect();
        assert_eq!(frames.len(), 2, "{out:?}");
        assert!(frames[0].contains("0%"), "{out:?}");
        assert!(frames[1].starts_with("Step 1\n") && frames[1].contains(" 40%"), "{out:?}");
    }

    #[test]
    fn a_streamed_text_is_not_disturbed_by_the_bar() {
        let delta = |text: &str| v1::WatchRunResponse {
            detail: Some(Detail::Delta(v1::DeltaDetail { text: text.to_owned() })),
            ..event(EventType::Delta, "")
        };
        let (out, _) = shown(|terminal| {
            terminal.event(&delta("some ")).unwrap();
            terminal.tick().unwrap();
            terminal.event(&delta("words")).unwrap();
            terminal.event(&event(EventType::Log, "next")).unwrap();
        });
        assert!(out.starts_with("some words\nnext\n"), "{out:?}");
    }

    #[test]
    fn the_end_leaves_no_bar_behind() {
        let (out, _) = shown(|terminal| {
            terminal.tick().unwrap();
            terminal.event(&event(EventType::Complete, "Done")).unwrap();
            terminal.finish().unwrap();
        });
        assert!(out.ends_with(&format!("{CLEAR_BELOW}✓ Done\n")), "{out:?}");
    }

    #[test]
    fn a_notice_takes_the_bar_away_first_and_goes_elsewhere() {
        let (out, err) = shown(|terminal| {
            terminal.tick().unwrap();
            terminal.notice("resumed").unwrap();
        });
        assert_eq!(err, "rungate: resumed\n");
        assert!(out.contains(CLEAR_BELOW) && !out.contains("resumed"), "{out:?}");
    }

    #[test]
    fn workers_at_work_stand_above_the_bar_and_are_cleared_with_it() {
        let node = |key: &str| {
            let detail =
                v1::NodeDetail { worker_key: key.into(), state: "running".into(), ..Default::default() };
            v1::WatchRunResponse { detail: Some(Detail::Node(detail)), ..event(EventType::Node, "") }
        };
        let (out, _) = shown(|terminal| {
            for key in ["a", "b", "c", "d", "e", "f", "g"] {
                terminal.event(&node(key)).unwrap();
            }
            terminal.finish().unwrap();
        });
        assert!(out.contains("  ▸ a 0%\n") && out.contains("  … and 2 more\n"), "{out:?}");
        assert!(out.ends_with(&format!("\u{1b}[6A{CLEAR_BELOW}")), "{out:?}");
    }
}
