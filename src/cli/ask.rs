//! The person's answers: lines of standard input.

use std::io::{self, IsTerminal as _};

use futures::{FutureExt as _, StreamExt as _};
use tokio::io::Stdin;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::model::limits;

/// Where answers come from. Nothing is read before the first question, so that a command in a loop of a shell does not
/// eat the loop's input.
pub(super) struct Answers {
    source: Source,
    interactive: bool,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A line with something in it.
    Text(String),
    /// A line that cannot be an answer; ask again.
    Unfit(&'static str),
    /// Nobody answers any more.
    End,
}

enum Source {
    Nobody,
    Unread,
    Lines(FramedRead<Stdin, LinesCodec>),
}

impl Answers {
    /// From the person at the terminal, or else from the lines of a pipe.
    pub(super) fn from_stdin() -> Self {
        Self { source: Source::Unread, interactive: io::stdin().is_terminal() }
    }

    /// From the person at the terminal, or else from nobody.
    pub(super) fn from_terminal() -> Self {
        let interactive = io::stdin().is_terminal();
        Self { source: if interactive { Source::Unread } else { Source::Nobody }, interactive }
    }

    /// From nobody.
    pub(super) fn nobody() -> Self {
        Self { source: Source::Nobody, interactive: false }
    }

    /// False when there is no use in asking.
    pub(super) fn possible(&self) -> bool {
        !matches!(self.source, Source::Nobody)
    }

    /// True when a person is asked.
    pub(super) fn interactive(&self) -> bool {
        self.interactive
    }

    /// The next answer. Cancel safe: a line that nobody waited for is kept.
    pub(super) async fn next(&mut self) -> io::Result<Answer> {
        if matches!(self.source, Source::Unread) {
            // A longer line is read to its end and dropped.
            let codec = LinesCodec::new_with_max_length(limits::INPUT_BYTES);
            self.source = Source::Lines(FramedRead::new(tokio::io::stdin(), codec));
        }
        let Source::Lines(lines) = &mut self.source else { return Ok(Answer::End) };
        let line = lines.next().await;
        if matches!(line, Some(Err(_))) {
            // After an error the stream says once that it has ended, and then goes on.
            drop(lines.next().now_or_never());
        }
        match line {
            Some(Ok(line)) if line.trim().is_empty() => Ok(Answer::Unfit("an answer needs some words")),
            Some(Ok(line)) => Ok(Answer::Text(line)),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => Ok(Answer::Unfit("the answer is too long")),
            Some(Err(LinesCodecError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Answer::Unfit("the answer is not UTF-8 text"))
            }
            Some(Err(LinesCodecError::Io(error))) => Err(error),
            None => {
                self.source = Source::Nobody;
                Ok(Answer::End)
            }
        }
    }
}
