//! Compacting a catch-up: pieces of text are merged, progress that later progress replaces is dropped.
//!
//! First all events of the catch-up are shown to [`Superseded`], then they are passed through a [`Compactor`]. What
//! comes out has the order, the cursors and the last event of what went in, and says the same.

use std::sync::Arc;

use super::{Entry, Event, EventKind, limits};

/// Which progress of a catch-up is replaced by later progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Superseded {
    last: u64,
    last_with_view: u64,
}

/// Passes events through, fewer of them. Holds at most one event whose texts keep within
/// [`limits::EVENT_TEXT_BYTES`], or one that was larger already.
#[derive(Debug)]
pub struct Compactor {
    superseded: Superseded,
    until: u64,
    pending: Option<Pending>,
}

/// What may be continued.
#[derive(Debug)]
struct Pending {
    /// The sequence of the first event in it.
    first: u64,
    text: Text,
}

/// A piece of text.
#[derive(Debug)]
enum Text {
    /// As it was logged; watchers share its encoded forms.
    Logged(Arc<Entry>),
    /// Made of several.
    Merged(Box<Event>),
}

impl Superseded {
    /// Looks at the next event of the catch-up.
    pub fn note(&mut self, event: &Event) {
        if event.kind == EventKind::Progress {
            self.last = event.sequence;
            if event.view.is_some() {
                self.last_with_view = event.sequence;
            }
        }
    }

    /// True for progress after which there is other progress and, where it has something to draw, other to draw.
    fn replaces(&self, event: &Event) -> bool {
        event.kind == EventKind::Progress
            && event.sequence < self.last
            && (event.view.is_none() || event.sequence < self.last_with_view)
    }
}

impl Compactor {
    /// For a catch-up that ends with sequence `until`. Later events pass untouched.
    pub fn new(superseded: Superseded, until: u64) -> Self {
        Self { superseded, until, pending: None }
    }

    /// Takes the next event; adds to `out` what can be told now. After the last event of the catch-up nothing is held
    /// back.
    pub fn push(&mut self, entry: Arc<Entry>, out: &mut Vec<Arc<Entry>>) {
        let sequence = entry.event.sequence;
        if sequence > self.until {
            out.push(entry);
            return;
        }
        if !self.superseded.replaces(&entry.event) {
            self.pending = match self.pending.take() {
                Some(pending) if pending.is_continued_by(&entry.event) => Some(pending.with(&entry.event)),
                other => {
                    out.extend(other.map(Pending::into_entry));
                    Some(Pending { first: sequence, text: Text::Logged(entry) })
                }
            };
        }
        let complete = |pending: &mut Pending| sequence == self.until || !pending.may_be_continued();
        out.extend(self.pending.take_if(complete).map(Pending::into_entry));
    }

    /// Lets go of what is held back; gives the sequence of its first event, with which to go on later.
    pub fn give_back(&mut self) -> Option<u64> {
        self.pending.take().map(|it| it.first)
    }
}

impl Pending {
    fn event(&self) -> &Event {
        match &self.text {
            Text::Logged(entry) => &entry.event,
            Text::Merged(event) => event,
        }
    }

    fn may_be_continued(&self) -> bool {
        mergeable_text(self.event()).is_some()
    }

    /// Both are text without a view, and together not too long for one event.
    fn is_continued_by(&self, next: &Event) -> bool {
        let event = self.event();
        let texts = mergeable_text(event).zip(mergeable_text(next));
        texts.is_some_and(|(one, other)| {
            let texts = one.len() + other.len();
            texts + event.message.len() + next.message.len() <= limits::EVENT_TEXT_BYTES
        })
    }

    fn with(self, next: &Event) -> Self {
        let mut event = match self.text {
            Text::Logged(entry) => Box::new(entry.event.clone()),
            Text::Merged(event) => event,
        };
        if let (EventKind::Delta { text }, EventKind::Delta { text: more }) = (&mut event.kind, &next.kind) {
            text.push_str(more);
        }
        event.message.push_str(&next.message);
        event.sequence = next.sequence;
        event.time = next.time;
        event.progress_percent = next.progress_percent;
        Self { text: Text::Merged(event), ..self }
    }

    fn into_entry(self) -> Arc<Entry> {
        match self.text {
            Text::Logged(entry) => entry,
            Text::Merged(event) => Arc::new(Entry::new(*event)),
        }
    }
}

/// The text of a DELTA. One that has something to draw stands for itself.
fn mergeable_text(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Delta { text } if event.view.is_none() => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::{ClientView, Graph, RunId};

    /// What an event is made of: its kind, its text, whether it has a view, how much further the run is.
    type Piece = (u8, usize, bool, u8);

    fn log_of(pieces: &[Piece]) -> Vec<Arc<Entry>> {
        let mut progress = 0u8;
        let events = pieces.iter().zip(1u64..).map(|((kind, length, view, further), sequence)| {
            progress = progress.saturating_add(*further).min(100);
            let text = format!("{sequence},").repeat(*length);
            let (kind, message) = match kind {
                0..4 => (EventKind::Delta { text }, String::new()),
                4 => (EventKind::Delta { text: text.clone() }, text),
                5..8 => (EventKind::Progress, text),
                _ => (EventKind::Log, text),
            };
            let view = view.then(|| ClientView::graph("p", Graph { nodes: vec![], edges: vec![] }));
            let run_id = RunId::new(Uuid::from_u128(1));
            let time = Timestamp::from_second(sequence as i64).unwrap();
            Event { run_id, sequence, time, message, progress_percent: progress, view, kind, memo: None }
        });
        events.map(|it| Arc::new(Entry::new(it))).collect()
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        // Now and then a text of a third of the bound, so that the bound is met.
        let length = prop_oneof![20 => 0usize..4, 1 => Just(limits::EVENT_TEXT_BYTES / 9)];
        prop::collection::vec((0u8..10, length, prop::bool::weighted(0.2), 0u8..5), 0..60)
    }

    fn superseded(log: &[Arc<Entry>], until: u64) -> Superseded {
        let mut superseded = Superseded::default();
        log.iter().filter(|it| it.event.sequence <= until).for_each(|it| superseded.note(&it.event));
        superseded
    }

    fn compacted(log: &[Arc<Entry>], until: u64) -> Vec<Arc<Entry>> {
        let mut compactor = Compactor::new(superseded(log, until), until);
        let mut out = Vec::new();
        log.iter().for_each(|it| compactor.push(it.clone(), &mut out));
        out
    }

    fn events(log: &[Arc<Entry>]) -> Vec<Event> {
        log.iter().map(|it| it.event.clone()).collect()
    }

    /// All text of all deltas, and all their messages.
    fn text(log: &[Arc<Entry>]) -> String {
        let delta = |it: &Arc<Entry>| match &it.event.kind {
            EventKind::Delta { text } => Some((text.clone(), it.event.message.clone())),
            _ => None,
        };
        let (texts, messages): (String, String) = log.iter().filter_map(delta).unzip();
        texts + &messages
    }

    fn is_touched(event: &Event) -> bool {
        event.kind == EventKind::Progress || mergeable_text(event).is_some()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_compact_log_says_the_same(pieces in pieces(), part in 0.0..=1.0f64) {
            let log = log_of(&pieces);
            let until = (log.len() as f64 * part) as u64;
            let short = compacted(&log, until);

            prop_assert_eq!(text(&short), text(&log));
            let last = |log: &[Arc<Entry>]| log.last().map(|it| it.event.cursor());
            prop_assert_eq!(last(&short), last(&log));
            prop_assert!(short.is_sorted_by(|one, other| one.event.sequence < other.event.sequence));
            for event in &short {
                let logged = &log[event.event.sequence as usize - 1].event;
                prop_assert_eq!(event.event.time, logged.time);
                prop_assert_eq!(event.event.progress_percent, logged.progress_percent);
            }
            let untouched = |log: &[Arc<Entry>]| -> Vec<Event> {
                events(log).into_iter().filter(|it| it.sequence > until || !is_touched(it)).collect()
            };
            prop_assert_eq!(untouched(&short), untouched(&log));
            let progress = |log: &[Arc<Entry>], view: bool| {
                let mut newest = log.iter().rev().map(|it| &it.event).filter(|it| it.kind == EventKind::Progress);
                newest.find(|it| !view || it.view.is_some()).cloned()
            };
            prop_assert_eq!(progress(&short, false), progress(&log, false));
            prop_assert_eq!(progress(&short, true), progress(&log, true));
        }

        #[test]
        fn what_is_given_back_is_taken_up_again(
            pieces in pieces(),
            part in 0.0..=1.0f64,
            batches in prop::collection::vec(1usize..8, 200),
        ) {
            let log = log_of(&pieces);
            let until = (log.len() as f64 * part) as u64;
            let whole = compacted(&log, until);
            let mut compactor = Compactor::new(superseded(&log, until), until);
            let (mut out, mut after) = (Vec::new(), 0);
            for batch in batches {
                let mut told = Vec::new();
                // As a reader does: until there is something to tell.
                while told.is_empty() && after < log.len() {
                    let end = log.len().min(after + batch);
                    log[after..end].iter().for_each(|it| compactor.push(it.clone(), &mut told));
                    after = end;
                }
                if let Some(first) = compactor.give_back() {
                    after = first as usize - 1;
                }
                out.extend(told);
            }
            prop_assert_eq!(events(&out), events(&whole));
        }

        #[test]
        fn nothing_is_left_to_compact(pieces in pieces()) {
            let log = log_of(&pieces);
            let until = log.len() as u64;
            let once = compacted(&log, until);
            prop_assert_eq!(events(&compacted(&once, until)), events(&once));
            for event in &once {
                prop_assert!(text(std::slice::from_ref(event)).len() <= limits::EVENT_TEXT_BYTES);
            }
            let bare = |it: &Arc<Entry>| it.event.kind == EventKind::Progress && it.event.view.is_none();
            prop_assert!(once.iter().filter(|it| bare(it)).count() <= 1);
            let short = |it: &Event| mergeable_text(it).is_some_and(|text| text.len() < 1000);
            prop_assert!(!once.windows(2).any(|it| it.iter().all(|it| short(&it.event))));
        }
    }

    #[test]
    fn text_is_merged_over_progress_that_is_dropped() {
        let log = log_of(&[
            (0, 1, false, 0),
            (5, 1, false, 9),
            (0, 1, false, 0),
            (5, 1, false, 9),
            (0, 1, false, 0),
        ]);
        let short = compacted(&log, 5);
        let told: Vec<_> =
            short.iter().map(|it| (it.event.sequence, text(std::slice::from_ref(it)))).collect();
        assert_eq!(told, [(3, "1,3,".to_owned()), (4, String::new()), (5, "5,".to_owned())]);
    }
}
