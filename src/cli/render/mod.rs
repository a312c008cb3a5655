//! What is seen of a run: a terminal gets a progress bar with the story above it, a pipe gets plain lines, and `--json`
//! gives the events themselves.

mod bar;
mod graph;
mod json;
mod plain;
mod story;
mod style;
pub(super) mod table;
mod terminal;
pub(super) mod text;

use std::{
    env,
    io::{self, IsTerminal as _},
};

use json::Json;
use plain::Plain;
use style::Paint;
use terminal::Terminal;

use crate::wire::v1;

/// Shows a run. Events go to standard output, notices to standard error.
pub(super) trait Render {
    /// Shows an event.
    fn event(&mut self, event: &v1::WatchRunResponse) -> io::Result<()>;

    /// Tells the person something that is not of the run.
    fn notice(&mut self, text: &str) -> io::Result<()>;

    /// Shows that an answer is waited for.
    fn prompt(&mut self) -> io::Result<()>;

    /// An answer is waited for no longer.
    fn answered(&mut self) -> io::Result<()>;

    /// Shows what is being done before there is a run.
    fn status(&mut self, text: &str) -> io::Result<()>;

    /// Time has passed.
    fn tick(&mut self) -> io::Result<()>;

    /// Takes away what moves; what was told stays.
    fn finish(&mut self) -> io::Result<()>;
}

/// Shows nothing of a run but that something is done.
pub(super) struct Muted<'a> {
    out: &'a mut dyn Render,
    status: &'a str,
}

/// The way to show runs of `pipeline` that suits where standard output goes.
pub(super) fn new(json: bool, pipeline: &str) -> Box<dyn Render> {
    if json {
        Box::new(Json::new(io::stdout(), io::stderr()))
    } else if has_cursor() {
        Box::new(Terminal::new(io::stdout(), io::stderr(), Paint::of_stdout(), pipeline))
    } else {
        Box::new(Plain::new(io::stdout(), io::stderr(), pipeline))
    }
}

/// True when standard output is a terminal on which lines can be drawn again.
fn has_cursor() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|it| it != "dumb")
}

impl<'a> Muted<'a> {
    /// Shows `status` on `out` instead of the run.
    pub(super) fn new(out: &'a mut dyn Render, status: &'a str) -> Self {
        Self { out, status }
    }
}

impl Render for Muted<'_> {
    fn event(&mut self, _event: &v1::WatchRunResponse) -> io::Result<()> {
        self.out.status(self.status)
    }

    fn notice(&mut self, text: &str) -> io::Result<()> {
        self.out.notice(text)
    }

    fn prompt(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn answered(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn status(&mut self, text: &str) -> io::Result<()> {
        self.out.status(text)
    }

    fn tick(&mut self) -> io::Result<()> {
        self.out.tick()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.finish()
    }
}
