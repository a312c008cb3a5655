//! The one writer of a run: takes commands from its mailbox, numbers the events, appends them, then tells who waits.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::EmitError;
use crate::{
    model::{
        Answer, Closing, Command, Draft, Event, EventKind, Outcome, Refused, Request, RequestId, RequestKey,
        RunError, RunId, RunMachine, RunState, limits,
    },
    runtime::clock,
    storage::{AppendError, RunLog},
};

/// The way to a run's writer. A full mailbox makes the caller wait: back-pressure goes to workers, never to watchers.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    run_id: RunId,
    mailbox: mpsc::Sender<Message>,
    /// Bounds the mailbox in bytes.
    room: Arc<Semaphore>,
    cancel: CancellationToken,
    at_once: CancellationToken,
    left: CancellationToken,
}

/// Owns the state of one run.
pub(super) struct Writer {
    machine: RunMachine,
    log: Arc<dyn RunLog>,
    mailbox: mpsc::Receiver<Message>,
    cancel: CancellationToken,
    at_once: CancellationToken,
    left: CancellationToken,
    /// Workers that wait for an answer; at most [`limits::OPEN_REQUESTS`].
    waiting: HashMap<RequestKey, oneshot::Sender<Answer>>,
    /// The log takes nothing more but the terminal event. The run's workers are told to stop; whoever finishes the run
    /// finds that it has failed.
    full: bool,
    /// The log is another's, or gone.
    lost: bool,
}

#[derive(Debug)]
struct Message {
    command: Command,
    /// What to do once the command's events are in the log.
    then: Then,
    /// Its share of the mailbox, where its size is a worker's to choose.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Then {
    /// Nobody waits.
    Nothing,
    /// Tells the sender what became of the command.
    Reply(Reply),
    /// Keeps the way to the worker that asked.
    Await { request: RequestKey, answer: oneshot::Sender<Answer>, reply: Reply },
}

/// A command whose events are being appended.
#[derive(Debug)]
struct Taken {
    then: Then,
    /// The run's state after it.
    state: RunState,
    /// The request that it ends.
    closes: Option<(RequestKey, Closing)>,
    stops: Option<Stopping>,
}

/// How the workers of a run are to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// They are given time.
    InTime,
    /// They wait, so there is nothing that they need time for.
    AtOnce,
}

/// Owed to the sender of a command; used up by answering.
#[derive(Debug)]
#[must_use = "the sender of the command waits for this"]
struct Reply(oneshot::Sender<Result<RunState, EmitError>>);

impl WriterHandle {
    /// The run it writes.
    pub fn run_id(&self) -> RunId {
        self.run_id
    }

    /// Cancelled as soon as the run is asked to stop.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Cancelled as soon as the run is asked to stop while its workers wait for an answer: they need no time to end.
    pub fn cancelled_at_once(&self) -> &CancellationToken {
        &self.at_once
    }

    /// Set as soon as the run is left without an end because the gateway ends. Nobody has cancelled it.
    pub fn is_left(&self) -> bool {
        self.left.is_cancelled()
    }

    /// Returns when the terminal event is in the log, or the run is left without one.
    pub async fn ended(&self) {
        self.mailbox.closed().await;
    }

    /// Hands over an event; returns as soon as the mailbox has taken it.
    pub async fn emit(&self, draft: Draft) -> Result<(), EmitError> {
        let kib = u32::try_from(draft.bytes() / 1024 + 1).unwrap_or(u32::MAX).min(limits::WRITER_MAILBOX_KIB);
        let room = self.room.clone().acquire_many_owned(kib).await.map_err(|_| EmitError::Gone)?;
        let message = Message { command: Command::Emit(draft), then: Then::Nothing, _room: Some(room) };
        self.mailbox.send(message).await.map_err(|_| EmitError::Gone)
    }

    /// Gives a command and waits until its events are in the log; gives the run's state after it.
    pub async fn apply(&self, command: Command) -> Result<RunState, EmitError> {
        self.send(command, Then::Reply).await
    }

    /// Asks the client, who has until `deadline`. The answer arrives on the receiver, once; it closes when there will be
    /// none. Whoever waits ends the wait with [`Closing::Expired`].
    pub async fn ask(
        &self,
        request_id: RequestId,
        request: Request,
        deadline: Timestamp,
        memo: Option<Box<Value>>,
    ) -> Result<oneshot::Receiver<Answer>, EmitError> {
        let (answer, receiver) = oneshot::channel();
        let key = RequestKey { kind: request.kind(), id: request_id.clone() };
        let command = Command::Ask { request_id, request, deadline, memo };
        self.send(command, |reply| Then::Await { request: key, answer, reply }).await?;
        Ok(receiver)
    }

    /// Waits again for what was asked before the gateway was restarted. Refused when it is no longer open: then the log
    /// tells how it ended.
    pub async fn rejoin(&self, request: RequestKey) -> Result<oneshot::Receiver<Answer>, EmitError> {
        let (answer, receiver) = oneshot::channel();
        let command = Command::Rejoin(request.clone());
        self.send(command, |reply| Then::Await { request, answer, reply }).await?;
        Ok(receiver)
    }

    /// Ends a request; gives the run's state after it.
    pub async fn close(&self, request: Option<RequestKey>, closing: Closing) -> Result<RunState, EmitError> {
        self.apply(Command::Close { request, closing }).await
    }

    async fn send(&self, command: Command, then: impl FnOnce(Reply) -> Then) -> Result<RunState, EmitError> {
        let (reply, receiver) = oneshot::channel();
        let message = Message { command, then: then(Reply(reply)), _room: None };
        self.mailbox.send(message).await.map_err(|_| EmitError::Gone)?;
        receiver.await.unwrap_or(Err(EmitError::Gone))
    }
}

impl Writer {
    pub(super) fn new(machine: RunMachine, log: Arc<dyn RunLog>) -> (Self, WriterHandle) {
        let (sender, mailbox) = mpsc::channel(limits::WRITER_MAILBOX);
        let handle = WriterHandle {
            run_id: machine.run().run_id,
            mailbox: sender,
            room: Arc::new(Semaphore::new(limits::WRITER_MAILBOX_KIB as usize)),
            cancel: CancellationToken::new(),
            at_once: CancellationToken::new(),
            left: CancellationToken::new(),
        };
        let (cancel, at_once, left) = (handle.cancel.clone(), handle.at_once.clone(), handle.left.clone());
        let waiting = HashMap::new();
        (Self { machine, log, mailbox, cancel, at_once, left, waiting, full: false, lost: false }, handle)
    }

    /// Writes until the terminal event is in the log, or the run is left without one.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while !self.machine.run().state.is_terminal() && !self.machine.is_left() && !self.lost {
            if self.mailbox.recv_many(&mut batch, limits::WRITER_BATCH).await == 0 {
                // Everybody who could say something is gone, and nobody has said how it ended.
                let error = RunError::permanent("internal", "the run was abandoned");
                batch.push(Message {
                    command: Command::Finish(Outcome::Failed(error)),
                    then: Then::Nothing,
                    _room: None,
                });
            } else if batch.iter().all(|it| matches!(it.then, Then::Nothing)) {
                // Nobody waits for it, and who says something often says more at once: it goes into one record.
                tokio::task::yield_now().await;
                while batch.len() < limits::WRITER_BATCH
                    && let Ok(more) = self.mailbox.try_recv()
                {
                    batch.push(more);
                }
            }
            self.write(std::mem::take(&mut batch)).await;
        }
        self.cancel.cancel();
        self.mailbox.close();
        let ended = EmitError::Refused(Refused::Ended(self.machine.run().state));
        while let Some(message) = self.mailbox.recv().await {
            message.then.refuse(ended.clone());
        }
    }

    /// Appends the events of a batch of commands in one go.
    async fn write(&mut self, batch: Vec<Message>) {
        let mut next = self.machine.clone();
        let mut events = Vec::new();
        let mut taken = Vec::new();
        // Told when the events are in the log too: what is refused because of one of them finds it there.
        let mut refused = Vec::new();
        // Held until the events are written.
        let mut room = Vec::new();
        for Message { command, then, _room } in batch {
            room.extend(_room);
            let Some(command) = self.possible(command) else {
                refused.push((then, EmitError::Full));
                continue;
            };
            if let Command::Close { request: Some(request), closing: Closing::Withdrawn } = &command
                && self.is_awaited(request, &taken)
            {
                refused.push((then, Refused::StillAwaited.into()));
                continue;
            }
            let stops = match command {
                Command::Cancel { .. } if next.run().state.is_waiting() => Some(Stopping::AtOnce),
                Command::Cancel { .. } | Command::Stop(_) => Some(Stopping::InTime),
                _ => None,
            };
            match next.apply(command, clock::now()) {
                Ok(new) => {
                    let closes = new.iter().find_map(closed_by);
                    events.extend(new);
                    taken.push(Taken { then, state: next.run().state, closes, stops });
                }
                Err(why) => refused.push((then, why.into())),
            }
        }
        match self.append(&next, events).await {
            Ok(()) => self.machine = next,
            Err(error) => {
                let refused = refused.into_iter().map(|it| it.0);
                taken.into_iter().map(|it| it.then).chain(refused).for_each(|it| it.refuse(error.clone()));
                self.full = true;
                self.lost = error != EmitError::Full;
                return self.cancel.cancel();
            }
        }
        if self.machine.is_left() {
            // Before anybody is told to stop, so that who is told knows why.
            self.left.cancel();
        }
        for taken in taken {
            self.tell(taken);
        }
        refused.into_iter().for_each(|(then, why)| then.refuse(why));
    }

    async fn append(&self, next: &RunMachine, events: Vec<Event>) -> Result<(), EmitError> {
        if events.is_empty() {
            return Ok(());
        }
        let expected = self.machine.run().last_sequence;
        let appended = self.log.append(next.run().clone(), expected, events).await;
        appended.map_err(|error| match error {
            AppendError::Full => EmitError::Full,
            AppendError::Closed => EmitError::Gone,
            AppendError::NotFound | AppendError::Conflict { .. } => {
                tracing::error!(run_id = %self.machine.run().run_id, %error, "the run has another writer");
                EmitError::Gone
            }
        })
    }

    /// What is left of a command when the log is full: of all of them only the end, and that is a failure.
    fn possible(&self, command: Command) -> Option<Command> {
        match command {
            command if !self.full => Some(command),
            // It makes room for nothing, and its workers are told already.
            Command::Stop(_) => Some(command),
            Command::Finish(_) => {
                let text = "the run has written more than the log may hold of it";
                Some(Command::Finish(Outcome::Failed(RunError::permanent("log_full", text))))
            }
            _ => None,
        }
    }

    /// True while somebody waits for the answer to a request, also when it is about to be asked. Two workers of a run may
    /// choose the same name; who was refused it must not take back the other one's request.
    fn is_awaited(&self, request: &RequestKey, taken: &[Taken]) -> bool {
        let asked_now = taken.iter().find_map(|it| match &it.then {
            Then::Await { request: asked, answer, .. } if asked == request => Some(answer),
            _ => None,
        });
        asked_now.or(self.waiting.get(request)).is_some_and(|it| !it.is_closed())
    }

    fn tell(&mut self, Taken { then, state, closes, stops }: Taken) {
        if stops == Some(Stopping::AtOnce) {
            self.at_once.cancel();
        }
        if stops.is_some() {
            self.cancel.cancel();
        }
        if let Some((request, closing)) = closes
            && let Some(worker) = self.waiting.remove(&request)
            && let Closing::Answered(answer) = closing
        {
            // A worker that has just stopped waiting does not want the answer any more.
            drop(worker.send(answer));
        }
        match then {
            Then::Nothing => {}
            Then::Reply(reply) => reply.send(Ok(state)),
            Then::Await { request, answer, reply } => {
                self.waiting.insert(request, answer);
                reply.send(Ok(state));
            }
        }
    }
}

impl Then {
    fn refuse(self, error: EmitError) {
        match self {
            Self::Nothing => {}
            Self::Reply(reply) | Self::Await { reply, .. } => reply.send(Err(error)),
        }
    }
}

impl Reply {
    fn send(self, result: Result<RunState, EmitError>) {
        // Whoever asked may have gone away; the command stands.
        drop(self.0.send(result));
    }
}

fn closed_by(event: &Event) -> Option<(RequestKey, Closing)> {
    match &event.kind {
        EventKind::Closed { request, closing } => Some((request.clone(), closing.clone())),
        _ => None,
    }
}
