//! The runs that orchestrators are at work for: whom a push is for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout, timeout_at},
};

use super::push::Pushed;
use crate::{
    model::{RunId, SessionId},
    runner::{AskError, Emitter},
};

/// Pushes of one run that wait for their turn. Beyond it whoever pushes waits.
const WAITING_PUSHES: usize = 16;
/// Names of ended runs that are remembered, so that a late push is told that it is late.
const REMEMBERED_ENDS: usize = 4096;
/// How long the last push of a run waits until the end is in the log.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// Finds the run of a push. Clones share it.
#[derive(Clone, Default)]
pub struct Orchestrators(Arc<Shared>);

/// Why a push is not applied.
#[derive(Debug, thiserror::Error)]
pub enum PushRefused {
    /// No orchestrator is at work for such a run.
    #[error("no such run")]
    Unknown,
    /// The run has ended.
    #[error("the run has ended")]
    Ended,
    /// The run is about to end, and makes no more requests.
    #[error("the run is about to end")]
    Ending,
    /// It names a run that has another name already.
    #[error("the run has another name already")]
    Renamed,
    /// The request cannot be made.
    #[error(transparent)]
    BadRequest(AskError),
    /// Too many requests are open.
    #[error("too many requests are open")]
    TooMany,
    /// The log of the run takes nothing more; the run ends with an error.
    #[error("the run log is full")]
    Full,
    /// The end of the run is not in the log yet; the same push may be sent again.
    #[error("the end of the run cannot be written at present")]
    NotYet,
}

/// A push on its way to its run, and the way back.
pub(super) struct Push {
    pub(super) pushed: Pushed,
    pub(super) reply: oneshot::Sender<Result<Taken, PushRefused>>,
}

/// What a run made of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in the log, or was before.
    Applied,
    /// It ends the work; the end follows.
    Ends,
}

/// One orchestrator at work for a run. It ends with this value.
pub(super) struct Engaged {
    shared: Arc<Shared>,
    live: Live,
    ours: Name,
    theirs: Option<Name>,
    /// The push that ended the work.
    last: Option<String>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    /// Told whenever a name is added.
    changed: watch::Sender<()>,
}

/// Bounded by the live runs and [`REMEMBERED_ENDS`].
#[derive(Default)]
struct Table {
    names: HashMap<Name, Entry>,
    /// Ended ones, oldest first.
    ended: VecDeque<Name>,
    /// Work whose name at the orchestrator is not known yet, by session.
    beginning: HashMap<SessionId, usize>,
    places: u64,
}

/// A run's name is its session's own: names of orchestrators are short.
type Name = (SessionId, String);

#[derive(Clone)]
enum Entry {
    Live(Live),
    Ended { last: Option<String> },
}

#[derive(Clone)]
struct Live {
    place: u64,
    run_id: RunId,
    inbox: mpsc::Sender<Push>,
    emitter: Emitter,
}

impl Orchestrators {
    /// Hands a push to the run that it is for, and returns when what it says is in the log. A run that may be about to
    /// become known is waited for, as long as `patience`.
    pub async fn push(
        &self,
        session_id: &SessionId,
        pushed: Pushed,
        patience: Duration,
    ) -> Result<Option<RunId>, PushRefused> {
        let names = [Some(&pushed.run_id), pushed.our_run()].into_iter().flatten();
        let names: Vec<_> = names.map(|it| (session_id.clone(), it.clone())).collect();
        let live = match self.find(&names, patience).await.ok_or(PushRefused::Unknown)? {
            Entry::Live(live) => live,
            // The one that ended it has come again.
            Entry::Ended { last } if last.is_some() && last == pushed.event_id => return Ok(None),
            Entry::Ended { .. } => return Err(PushRefused::Ended),
        };
        let (reply, taken) = oneshot::channel();
        live.inbox.send(Push { pushed, reply }).await.map_err(|_| PushRefused::Ended)?;
        match taken.await.unwrap_or(Err(PushRefused::Ended))? {
            Taken::Ends if live.emitter.is_alone() => {
                timeout(END_PATIENCE, live.emitter.ended()).await.map_err(|_| PushRefused::NotYet)?;
            }
            Taken::Applied | Taken::Ends => {}
        }
        Ok(Some(live.run_id))
    }

    /// True when work for `run_id`, the active run of a session, is known by all its names, so that nothing is gained by
    /// waiting for others.
    pub fn is_settled(&self, session_id: &SessionId, run_id: RunId) -> bool {
        let table = self.0.table();
        let known =
            matches!(table.names.get(&(session_id.clone(), run_id.to_string())), Some(Entry::Live(_)));
        known && !table.beginning.contains_key(session_id)
    }

    /// Notes that an orchestrator is at work for a run; gives what is pushed.
    pub(super) fn engage(
        &self,
        session_id: &SessionId,
        run_id: RunId,
        emitter: Emitter,
    ) -> (Engaged, mpsc::Receiver<Push>) {
        let (inbox, pushes) = mpsc::channel(WAITING_PUSHES);
        let ours = (session_id.clone(), run_id.to_string());
        let mut table = self.0.table();
        table.places += 1;
        let live = Live { place: table.places, run_id, inbox, emitter };
        // Of several workers of one run the first has the run's own name.
        if !matches!(table.names.get(&ours), Some(Entry::Live(_))) {
            table.names.insert(ours.clone(), Entry::Live(live.clone()));
        }
        *table.beginning.entry(session_id.clone()).or_default() += 1;
        drop(table);
        self.0.changed.send_replace(());
        (Engaged { shared: self.0.clone(), live, ours, theirs: None, last: None }, pushes)
    }

    async fn find(&self, names: &[Name], patience: Duration) -> Option<Entry> {
        let mut changed = self.0.changed.subscribe();
        let until = Instant::now() + patience;
        loop {
            changed.mark_unchanged();
            let found = names.iter().find_map(|it| self.0.table().names.get(it).cloned());
            if found.is_some() {
                return found;
            }
            timeout_at(until, changed.changed()).await.ok()?.ok()?;
        }
    }
}

impl Engaged {
    /// Notes the orchestrator's name of the run. False when that is the name of another run of the session.
    pub(super) fn name(&mut self, theirs: &str) -> bool {
        let name = (self.ours.0.clone(), theirs.to_owned());
        if self.theirs.as_ref() == Some(&name) {
            return true;
        }
        let mut table = self.shared.table();
        let taken = matches!(table.names.get(&name), Some(Entry::Live(it)) if it.place != self.live.place);
        if taken || self.theirs.is_some() {
            return false;
        }
        table.names.insert(name.clone(), Entry::Live(self.live.clone()));
        table.begun(&self.ours.0);
        drop(table);
        self.theirs = Some(name);
        self.shared.changed.send_replace(());
        true
    }

    /// The orchestrator's name of the run, where it is known.
    pub(super) fn theirs(&self) -> Option<&str> {
        self.theirs.as_ref().map(|it| it.1.as_str())
    }

    /// Notes the push that ended the work.
    pub(super) fn ended_by(&mut self, event_id: Option<String>) {
        self.last = event_id;
    }
}

impl Drop for Engaged {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        if self.theirs.is_none() {
            table.begun(&self.ours.0);
        }
        for name in [Some(&self.ours), self.theirs.as_ref()].into_iter().flatten() {
            if matches!(table.names.get(name), Some(Entry::Live(it)) if it.place == self.live.place) {
                table.names.insert(name.clone(), Entry::Ended { last: self.last.clone() });
                table.ended.push_back(name.clone());
            }
        }
        table.forget_ends();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn begun(&mut self, session_id: &SessionId) {
        if let Some(count) = self.beginning.get_mut(session_id) {
            *count -= 1;
            if *count == 0 {
                self.beginning.remove(session_id);
            }
        }
    }

    fn forget_ends(&mut self) {
        while self.ended.len() > REMEMBERED_ENDS
            && let Some(name) = self.ended.pop_front()
        {
            if matches!(self.names.get(&name), Some(Entry::Ended { .. })) {
                self.names.remove(&name);
            }
        }
    }
}
