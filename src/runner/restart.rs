//! What becomes of live runs when the gateway ends, and of those without an end when it is back.
//!
//! A run ends with an error that says that it was interrupted, unless its worker is declared to begin again: then its log
//! stays open, and goes on with another attempt. A run of a worker that outlives the gateway goes on where it is: its log is
//! left in the middle, with its open requests, and taken up there. Whether the gateway was told to end or was killed makes no difference.

use futures::{StreamExt as _, stream};

use super::{Launcher, Restart, RunRequest};
use crate::{
    model::{Command, Outcome, Run, RunError, RunId, RunState, Stop, limits},
    run::{ReadRunError, Runs, TakenUp, Work},
    session::{Claimed, IfBusy},
};

/// Runs that are taken up at a time. Each waits for a commit of the log, which all of them share.
const AT_A_TIME: usize = 256;

/// What became of the runs that the end of the gateway cut short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// They ended with an error.
    pub interrupted: usize,
    /// They ended as they were asked to before.
    pub cancelled: usize,
    /// They begin again, at once or when their session is passed on to them.
    pub rerun: usize,
    /// They go on where they are.
    pub resumed: usize,
    /// What is stored of them cannot be read, or their end not be written: they are left as they are.
    pub unreadable: usize,
}

/// A run that was cut short, and its session where it got that again.
struct CutShort {
    run: Run,
    claimed: Option<Claimed>,
    restart: Restart,
}

impl Launcher {
    /// Makes all live runs stop because the gateway ends, and waits until they have, at most twice the grace time of
    /// workers. Runs that begin again or go on are left without an end, if their logs outlive the process.
    pub async fn stop_all(&self, runs: &Runs, logs_survive: bool) {
        let stop = async |run: &Run| match self.restart_of(run).await {
            Restart::Rerun if logs_survive => Stop::Leave,
            // One that was asked to stop is given its time, and ends.
            Restart::Resume if logs_survive && run.state != RunState::Cancelling => Stop::Park,
            _ => Stop::Interrupt,
        };
        runs.stop_all(self.executor.time_limits.grace, stop).await;
    }

    /// Ends the runs that the end of the gateway cut short, or begins them again. Called once, before anybody can ask for
    /// a session. Sessions are taken first, so that nobody gets between when the rest takes long.
    pub async fn recover(&self, runs: &Runs) -> Recovered {
        let ids = stream::iter(runs.cut_short().await);
        let mut known: Vec<_> = ids.map(|it| known(runs, it)).buffered(AT_A_TIME).collect().await;
        // A run that has begun held its session, and gets it before those that waited for it.
        known.sort_by_key(|it| it.as_ref().is_some_and(|run| run.started_at.is_none()));
        let mut recovered = Recovered::default();
        let mut cut_short = Vec::with_capacity(known.len());
        for run in known {
            match run {
                Some(run) => cut_short.push(self.claim_again(run).await),
                None => recovered.unreadable += 1,
            }
        }
        let taken_up = stream::iter(cut_short).map(|it| self.take_up(runs, it));
        let mut taken_up = taken_up.buffer_unordered(AT_A_TIME);
        while let Some((state, restart)) = taken_up.next().await {
            match state {
                None => recovered.unreadable += 1,
                Some(RunState::Cancelled) => recovered.cancelled += 1,
                Some(state) if state.is_terminal() => recovered.interrupted += 1,
                Some(_) if restart == Restart::Resume => recovered.resumed += 1,
                Some(_) => recovered.rerun += 1,
            }
        }
        recovered.tell();
        recovered
    }

    /// What becomes of a run that is cut short.
    async fn restart_of(&self, run: &Run) -> Restart {
        let Ok(Some(session)) = self.sessions.find(&run.session_id).await else { return Restart::Interrupt };
        let worker = self.contexts.resolver_of(&session).resolve(&run.pipeline_id);
        let Some(worker) = worker else { return Restart::Interrupt };
        let begun = run.started_at.is_some();
        match worker.spec().restart {
            // Nothing of it is begun again, so nothing is counted. Also who is to be told to stop must be known again.
            Restart::Resume if begun && worker.spec().requires.is_empty() => Restart::Resume,
            _ if run.state == RunState::Cancelling => Restart::Interrupt,
            // Nobody works at it yet.
            Restart::Resume if !begun => Restart::Rerun,
            Restart::Rerun if !begun || run.attempt < limits::ATTEMPTS => Restart::Rerun,
            _ => Restart::Interrupt,
        }
    }

    /// Gives its session again to a run that begins again. The session knows its last run afterwards in any case.
    async fn claim_again(&self, run: Run) -> CutShort {
        let (session_id, run_id) = (&run.session_id, run.run_id);
        let restart = self.restart_of(&run).await;
        let claimed = match restart {
            Restart::Interrupt => None,
            Restart::Rerun | Restart::Resume => {
                match self.sessions.claim(session_id, run_id, IfBusy::Enqueue).await {
                    Ok(claimed) => Some(claimed),
                    Err(error) => {
                        tracing::warn!(%error, %run_id, %session_id, "a run cannot go on");
                        None
                    }
                }
            }
        };
        if claimed.is_none()
            && run.started_at.is_some()
            && let Err(error) = self.sessions.note_latest(session_id, run_id).await
        {
            tracing::warn!(%error, %run_id, %session_id, "a session does not know its last run");
        }
        CutShort { run, claimed, restart }
    }

    /// Ends a run, begins it again or goes on with it, whichever can be; gives its state. `None`: it cannot be read, nor
    /// ended.
    async fn take_up(&self, runs: &Runs, cut_short: CutShort) -> (Option<RunState>, Restart) {
        let restart = cut_short.restart;
        (self.taken_up(runs, cut_short).await, restart)
    }

    async fn taken_up(&self, runs: &Runs, cut_short: CutShort) -> Option<RunState> {
        let CutShort { run, claimed, restart } = cut_short;
        let run_id = run.run_id;
        let work = if restart == Restart::Resume { Work::GoesOn } else { Work::Gone };
        let taken_up =
            runs.take_up(run_id, work).await.inspect_err(|error| tell_unreadable(run_id, error)).ok();
        let (claimed, taken_up) = match (claimed, taken_up) {
            (Some(claimed), Some(taken_up)) if !taken_up.damaged => (claimed, taken_up),
            (claimed, taken_up) => {
                if claimed.is_some() {
                    self.release(&run.session_id, run_id, None).await;
                }
                let interrupted = Command::Finish(Outcome::Failed(RunError::interrupted()));
                return taken_up?.writer.apply(interrupted).await.ok();
            }
        };
        let TakenUp { writer, run: Run { pipeline_id, state, .. }, params, .. } = taken_up;
        if restart == Restart::Resume
            && let Claimed::Held(session) = claimed
        {
            self.resume(RunRequest { run_id, session, pipeline_id, params }, writer);
            return Some(state);
        }
        let state = writer.apply(Command::Rerun).await.ok();
        // One that does not begin again passes its session on as it would at its end.
        match claimed {
            Claimed::Held(session) => {
                self.launch(RunRequest { run_id, session, pipeline_id, params }, writer).await;
            }
            Claimed::Waiting { session, .. } => {
                self.hold(RunRequest { run_id, session, pipeline_id, params }, writer).await;
            }
        }
        state
    }
}

impl Recovered {
    fn tell(self) {
        if self == Self::default() {
            return;
        }
        let Self { interrupted, cancelled, rerun, resumed, unreadable } = self;
        tracing::info!(
            interrupted,
            cancelled,
            rerun,
            resumed,
            unreadable,
            "took up the runs that were cut short"
        );
    }
}

async fn known(runs: &Runs, run_id: RunId) -> Option<Run> {
    runs.get(run_id).await.inspect_err(|error| tell_unreadable(run_id, error)).ok()
}

fn tell_unreadable(run_id: RunId, error: &ReadRunError) {
    tracing::error!(%run_id, %error, "a run that was cut short cannot be taken up");
}
