//! Tones of what is said, and their colours.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _},
};

/// How something is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// As it is.
    #[default]
    Normal,
    /// Beside the point.
    Quiet,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// The person is needed.
    Asking,
    /// A heading, or what moves.
    Strong,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Paint {
    colours: bool,
}

impl Paint {
    /// Colours when standard output is a terminal, unless `NO_COLOR` is set or the terminal is a dumb one.
    pub(in crate::cli) fn of_stdout() -> Self {
        let (no_color, term) = (env::var_os("NO_COLOR"), env::var_os("TERM"));
        Self::of(io::stdout().is_terminal(), no_color.as_deref(), term.as_deref())
    }

    /// No colours.
    #[cfg(test)]
    pub(in crate::cli) fn plain() -> Self {
        Self { colours: false }
    }

    /// As <https://no-color.org> has it: a variable that is empty does not count.
    fn of(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let wanted = no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|it| it != "dumb");
        Self { colours: terminal && wanted }
    }

    /// The text in its tone.
    pub(in crate::cli) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Asking => "1;33",
            Tone::Strong => "1;36",
            Tone::Normal => "",
        };
        if !self.colours || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        let colours = |terminal, no_color: Option<&str>, term: Option<&str>| {
            Paint::of(terminal, no_color.map(OsStr::new), term.map(OsStr::new)).colours
        };
        assert!(colours(true, None, Some("xterm")));
        assert!(colours(true, Some(""), None));
        assert!(!colours(true, Some("1"), Some("xterm")));
        assert!(!colours(true, None, Some("dumb")));
        assert!(!colours(false, None, Some("xterm")));
    }

    #[test]
    fn without_colours_the_text_stays_as_it_is() {
        assert_eq!(Paint::plain().paint(Tone::Bad, "no"), "no");
        assert_eq!(Paint { colours: true }.paint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
