//! The line that moves: what runs, how far it is, for how long, and what it said last.

use std::time::Duration;

use super::{
    style::{Paint, Tone},
    text,
};

/// Columns of the bar itself, where the terminal is wide enough.
const COLUMNS: usize = 28;

/// Columns of the name of what runs.
const LABEL_COLUMNS: usize = 24;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// What the line shows.
pub(super) struct Bar<'a> {
    /// The pipeline.
    pub(super) label: &'a str,
    /// 0 to 100.
    pub(super) percent: i32,
    /// How often the line has moved.
    pub(super) turn: usize,
    /// For how long the person has been waiting.
    pub(super) elapsed: Duration,
    /// The run's state, or what is being done.
    pub(super) status: &'a str,
}

impl Bar<'_> {
    /// The line, of at most `columns` columns.
    pub(super) fn line(&self, columns: usize, paint: Paint) -> String {
        let label = text::cut(self.label, LABEL_COLUMNS);
        let seconds = self.elapsed.as_secs();
        let numbers = format!("{:>3}% {}:{:02}", self.percent.clamp(0, 100), seconds / 60, seconds % 60);
        let fixed = 2 + label.chars().count() + 1 + 1 + numbers.len();
        let Some(room) = columns.checked_sub(fixed).filter(|it| *it > 0) else {
            return text::cut(&numbers, columns);
        };
        let width = COLUMNS.min(room);
        let full = width * self.percent.clamp(0, 100) as usize / 100;
        let status = text::cut(self.status, room.saturating_sub(width + 2));
        let spinner = SPINNER[self.turn % SPINNER.len()];
        let mut line = format!(
            "{} {label} {}{} {numbers}",
            paint.paint(Tone::Strong, spinner),
            paint.paint(Tone::Strong, &"━".repeat(full)),
            paint.paint(Tone::Quiet, &"─".repeat(width - full)),
        );
        if !status.is_empty() {
            line = format!("{line}  {}", paint.paint(Tone::Quiet, &status));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(percent: i32) -> Bar<'static> {
        Bar { label: "count", percent, turn: 0, elapsed: Duration::from_secs(65), status: "running" }
    }

    #[test]
    fn the_bar_fills_with_the_progress() {
        let line = bar(50).line(80, Paint::plain());
        assert_eq!(line, format!("⠋ count {}{}  50% 1:05  running", "━".repeat(14), "─".repeat(14)));
        assert!(!bar(100).line(80, Paint::plain()).contains('─'));
        assert!(bar(700).line(80, Paint::plain()).contains("100%"));
    }

    #[test]
    fn it_never_reaches_over_the_edge() {
        for columns in 0..100 {
            let line = bar(33).line(columns, Paint::plain());
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}
