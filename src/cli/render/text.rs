//! Texts for people: made safe for a terminal, cut to its width, and written out.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use jiff::Timestamp;

use super::style::Tone;
use crate::wire::v1::RunState;

/// The width that is taken where the terminal does not tell its own.
const DEFAULT_COLUMNS: usize = 80;

/// The text without characters that would move the cursor or change the terminal; lines and tabs stay. What a worker
/// says is not trusted with a person's terminal.
pub(in crate::cli) fn safe(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|it| matches!(it, '\n' | '\t') || is_visible(*it)).collect()
}

/// The same on one line.
pub(in crate::cli) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|it| is_visible(*it)).collect()
}

/// The same with its spaces.
pub(in crate::cli) fn one_line_kept(text: &str) -> String {
    text.chars().filter(|it| is_visible(*it)).collect()
}

/// Cuts the text to so many columns of a terminal; the cut is shown. Counts wide characters as two, and some narrow
/// ones too: rather too short than over the edge.
pub(in crate::cli) fn cut(text: &str, columns: usize) -> String {
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |it: &char| {
        let width = width(*it);
        let fits = width <= left;
        left = left.saturating_sub(if fits { width } else { left });
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// Columns of the terminal that standard output is.
pub(in crate::cli) fn terminal_columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => DEFAULT_COLUMNS,
    }
}

/// A state's name as people read it: `waiting input`.
pub(in crate::cli) fn state_name(state: RunState) -> String {
    let name = state.as_str_name();
    name.strip_prefix("RUN_STATE_").unwrap_or(name).to_lowercase().replace('_', " ")
}

/// How a state is meant.
pub(in crate::cli) fn state_tone(state: RunState) -> Tone {
    match state {
        RunState::Succeeded => Tone::Good,
        RunState::Failed => Tone::Bad,
        RunState::Cancelled | RunState::Cancelling => Tone::Quiet,
        RunState::WaitingInput | RunState::WaitingTool | RunState::WaitingApproval => Tone::Asking,
        _ => Tone::Normal,
    }
}

/// An instant to the second, in UTC.
pub(in crate::cli) fn instant(time: prost_types::Timestamp) -> String {
    let time = Timestamp::new(time.seconds, 0).unwrap_or_default();
    let text = time.strftime("%Y-%m-%d %H:%M:%SZ");
    text.to_string()
}

/// How long ago an instant was, to the largest unit: `12s ago`, `3m ago`, `2h ago`, `5d ago`.
pub(in crate::cli) fn ago(time: prost_types::Timestamp, now: prost_types::Timestamp) -> String {
    match now.seconds.saturating_sub(time.seconds).max(0) {
        seconds @ 0..60 => format!("{seconds}s ago"),
        seconds @ 60..3600 => format!("{}m ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h ago", seconds / 3600),
        seconds => format!("{}d ago", seconds / 86_400),
    }
}

/// The time between two instants: `0.3s`, `12.0s`, `1m 05s`, `2h 03m`. Clocks that disagree give nothing less than 0.
pub(in crate::cli) fn between(start: prost_types::Timestamp, end: prost_types::Timestamp) -> String {
    let seconds = end.seconds.saturating_sub(start.seconds) as f64;
    let seconds = seconds + f64::from(end.nanos.saturating_sub(start.nanos)) / 1e9;
    duration(seconds.max(0.0))
}

/// A duration as [`between`] has it.
pub(in crate::cli) fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{:.1}s", (seconds * 10.0).floor() / 10.0),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
    }
}

/// What went wrong with a file or a stream.
pub(in crate::cli) fn io_error(error: &io::Error) -> String {
    one_line(&error.to_string())
}

/// Writes a line to standard output.
pub(in crate::cli) fn write_line(text: &str) -> io::Result<()> {
    write_bytes(text.as_bytes())
}

/// The same for bytes.
pub(in crate::cli) fn write_bytes(line: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a line to standard error. When nobody reads it, there is nobody to tell.
pub(in crate::cli) fn write_error(text: &str) {
    let mut line = String::new();
    let written = writeln!(line, "{text}").map_err(|_| io::ErrorKind::Other.into());
    drop(written.and_then(|()| io::stderr().write_all(line.as_bytes())));
}

/// Direction marks and the like are invisible, and can make a text read as another.
fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// From Hangul on, characters may be two columns wide; punctuation, arrows and box drawing are not.
fn width(c: char) -> usize {
    match c {
        '\u{2000}'..='\u{2bff}' => 1,
        c if c >= '\u{1100}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_cannot_paint_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\r\nc\td\u{7}"), "a[2Jb\nc\td");
        assert_eq!(one_line(" a\n\u{1b}]0;title\u{7}  b\u{202e} "), "a ]0;title b");
    }

    #[test]
    fn a_cut_is_shown_and_never_too_wide() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("too long", 5), "too …");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("anything", 0), "");
    }

    #[test]
    fn durations_are_short_to_read() {
        for (seconds, text) in
            [(0.0, "0.0s"), (1.56, "1.5s"), (59.99, "59.9s"), (65.0, "1m 05s"), (7384.0, "2h 03m")]
        {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn states_read_as_words() {
        assert_eq!(state_name(RunState::WaitingInput), "waiting input");
    }
}
