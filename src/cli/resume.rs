//! The rules of following a run over cuts, without a connection or a clock: nothing is lost, nothing is seen twice.

use std::time::Duration;

use tokio::time::Instant;

use crate::{runtime::backoff::Backoff, wire::v1};

/// Pauses between tries: from a quarter of a second, which hides a quick restart, to five seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A watch that lived so long was a success, even when no event came; one that is cut sooner was not.
const PROVEN: Duration = Duration::from_secs(5);

/// Where a watch stands.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    after: String,
    seen: u64,
    moved: bool,
    give_up_after: Duration,
    backoff: Backoff,
    opened_at: Option<Instant>,
    cut_at: Option<Instant>,
}

/// What a message of the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// An event to show.
    New,
    /// An event that was shown before, or lies before the place where the person wanted to begin.
    Known,
    /// No event: the stream is alive.
    Heartbeat,
}

/// What to do after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, then watch from [`Resume::position`].
    Retry {
        /// How long to wait.
        pause: Duration,
        /// True for the first try after a time when all was well: the person is told once.
        first: bool,
    },
    /// The time given is over.
    GiveUp,
}

impl Resume {
    /// A watch from `after`: empty, a cursor, or `now`; with `now`, `last_sequence` is the newest event there was when
    /// the person asked.
    pub(super) fn new(after: &str, last_sequence: u64, give_up_after: Duration) -> Self {
        let seen = if after == "now" { last_sequence } else { 0 };
        Self {
            after: after.to_owned(),
            seen,
            moved: false,
            give_up_after,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            opened_at: None,
            cut_at: None,
        }
    }

    /// Where the next watch begins: the `after` of its request.
    pub(super) fn position(&self) -> &str {
        &self.after
    }

    /// The cursor of the last event seen; empty when there was none.
    pub(super) fn cursor(&self) -> &str {
        if self.after == "now" { "" } else { &self.after }
    }

    /// True when an event has come since the beginning.
    pub(super) fn moved(&self) -> bool {
        self.moved
    }

    /// The time that may pass between a cut and what comes next.
    pub(super) fn give_up_after(&self) -> Duration {
        self.give_up_after
    }

    /// The gateway began to answer.
    pub(super) fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }

    /// Something came. True when it is the first after a cut.
    pub(super) fn received(&mut self) -> bool {
        self.backoff.reset();
        self.cut_at.take().is_some()
    }

    /// What a message is; remembers its place.
    pub(super) fn take(&mut self, message: &v1::WatchRunResponse) -> Seen {
        if message.event_type() == v1::EventType::Heartbeat || message.sequence == 0 {
            return Seen::Heartbeat;
        }
        self.after.clone_from(&message.cursor);
        self.moved = true;
        if message.sequence <= self.seen {
            return Seen::Known;
        }
        self.seen = message.sequence;
        Seen::New
    }

    /// The watch could not begin, or broke. `wish` is the pause that the gateway asks for.
    pub(super) fn cut(&mut self, wish: Option<Duration>, now: Instant) -> Next {
        if self.opened_at.take().is_some_and(|it| now.duration_since(it) >= PROVEN) {
            self.cut_at = None;
            self.backoff.reset();
        }
        if self.after == "now" {
            // What happens while nobody listens must not be lost: read all, show what is newer than `seen`.
            self.after.clear();
        }
        let first = self.cut_at.is_none();
        let away = now.duration_since(*self.cut_at.get_or_insert(now));
        let Some(left) = self.give_up_after.checked_sub(away).filter(|it| !it.is_zero()) else {
            return Next::GiveUp;
        };
        let pause = self.backoff.pause().max(wish.unwrap_or_default()).min(left);
        Next::Retry { pause, first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> v1::WatchRunResponse {
        v1::WatchRunResponse {
            event_type: v1::EventType::Log.into(),
            sequence,
            cursor: format!("c{sequence}"),
            ..Default::default()
        }
    }

    fn retry(next: Next) -> (Duration, bool) {
        let Next::Retry { pause, first } = next else { panic!("{next:?}") };
        (pause, first)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_watch_resumes_after_the_last_event_and_shows_none_twice() {
        let mut resume = Resume::new("", 0, MINUTE);
        assert_eq!(resume.position(), "");
        assert_eq!([1, 2].map(|it| resume.take(&event(it))), [Seen::New; 2]);
        retry(resume.cut(None, Instant::now()));
        assert_eq!(resume.position(), "c2");
        assert_eq!([2, 3].map(|it| resume.take(&event(it))), [Seen::Known, Seen::New]);
    }

    #[test]
    fn a_heartbeat_moves_nothing() {
        let mut resume = Resume::new("c7", 0, MINUTE);
        let heartbeat =
            v1::WatchRunResponse { event_type: v1::EventType::Heartbeat.into(), ..Default::default() };
        assert_eq!(resume.take(&heartbeat), Seen::Heartbeat);
        assert_eq!(resume.position(), "c7");
    }

    #[test]
    fn a_watch_from_now_that_is_cut_before_its_first_event_loses_none() {
        let mut resume = Resume::new("now", 3, MINUTE);
        assert_eq!((resume.position(), resume.cursor()), ("now", ""));
        retry(resume.cut(None, Instant::now()));
        assert_eq!(resume.position(), "");
        let seen = [1, 2, 3, 4].map(|it| resume.take(&event(it)));
        assert_eq!(seen, [Seen::Known, Seen::Known, Seen::Known, Seen::New]);
    }

    #[test]
    fn tries_go_on_until_the_time_is_over_and_the_first_is_told() {
        let (mut resume, start) = (Resume::new("", 0, MINUTE), Instant::now());
        assert!(retry(resume.cut(None, start)).1);
        let (pause, first) = retry(resume.cut(None, start + Duration::from_secs(58)));
        assert!(!first && pause <= Duration::from_secs(2), "{pause:?}");
        assert_eq!(resume.cut(None, start + MINUTE), Next::GiveUp);
    }

    #[test]
    fn what_comes_after_a_cut_begins_the_time_again() {
        let (mut resume, start) = (Resume::new("", 0, MINUTE), Instant::now());
        retry(resume.cut(None, start));
        assert!(resume.received());
        assert!(!resume.received());
        assert!(retry(resume.cut(None, start + 2 * MINUTE)).1);
    }

    #[test]
    fn a_gateway_that_opens_and_breaks_again_and_again_is_given_up() {
        let (mut resume, start) = (Resume::new("", 0, MINUTE), Instant::now());
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            resume.opened(now);
            retry(resume.cut(None, now + Duration::from_millis(500)));
        }
        resume.opened(start + MINUTE);
        assert_eq!(resume.cut(None, start + MINUTE + Duration::from_secs(1)), Next::GiveUp);
    }

    #[test]
    fn a_silent_watch_that_lived_long_was_a_success() {
        let (mut resume, start) = (Resume::new("", 0, MINUTE), Instant::now());
        retry(resume.cut(None, start));
        resume.opened(start + Duration::from_secs(1));
        assert!(retry(resume.cut(None, start + 2 * MINUTE)).1);
    }

    #[test]
    fn the_pause_is_as_long_as_the_gateway_asks_but_ends_in_time() {
        let mut resume = Resume::new("", 0, MINUTE);
        let asked = Duration::from_secs(7);
        assert_eq!(retry(resume.cut(Some(asked), Instant::now())).0, asked);
        let (pause, _) = retry(resume.cut(Some(2 * MINUTE), Instant::now()));
        assert!(pause <= MINUTE);
    }
}
