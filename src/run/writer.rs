//! The one writer of a run: takes commands from its mailbox, numbers the events, appends them, then tells who waits.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::EmitError;
use crate::{
    model::{
        Command, Draft, Event, Outcome, Refused, RequestId, RunError, RunId, RunMachine, RunState, limits,
    },
    runtime::clock,
    storage::{AppendError, RunLog},
};

/// The way to a run's writer. A full mailbox makes the caller wait: back-pressure goes to workers, never to watchers.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    run_id: RunId,
    mailbox: mpsc::Sender<Message>,
    cancel: CancellationToken,
}

/// Owns the state of one run.
pub(super) struct Writer {
    machine: RunMachine,
    log: Arc<dyn RunLog>,
    mailbox: mpsc::Receiver<Message>,
    cancel: CancellationToken,
    waiting: HashMap<RequestId, oneshot::Sender<String>>,
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
}

#[derive(Debug)]
enum Then {
    /// Nobody waits.
    Nothing,
    /// Tells the sender what became of the command.
    Reply(Reply),
    /// Keeps the way to the worker that asked.
    Await { request_id: RequestId, answer: oneshot::Sender<String>, reply: Reply },
    /// Hands the answer to the worker that asked for it.
    Deliver { text: String, reply: Reply },
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

    /// Returns when the terminal event is in the log, or the run is left without one.
    pub async fn ended(&self) {
        self.mailbox.closed().await;
    }

    /// Hands over an event; returns as soon as the mailbox has taken it.
    pub async fn emit(&self, draft: Draft) -> Result<(), EmitError> {
        let message = Message { command: Command::Emit(draft), then: Then::Nothing };
        self.mailbox.send(message).await.map_err(|_| EmitError::Gone)
    }

    /// Gives a command and waits until its events are in the log; gives the run's state after it.
    pub async fn apply(&self, command: Command) -> Result<RunState, EmitError> {
        self.send(command, Then::Reply).await
    }

    /// Asks the person. The answer arrives on the receiver, once; it closes when the run ends before.
    pub async fn ask(
        &self,
        request_id: RequestId,
        prompt: String,
    ) -> Result<oneshot::Receiver<String>, EmitError> {
        let (answer, receiver) = oneshot::channel();
        let command = Command::Ask { request_id: request_id.clone(), prompt };
        self.send(command, |reply| Then::Await { request_id, answer, reply }).await?;
        Ok(receiver)
    }

    /// Answers the question `request_id`, or the oldest open one.
    pub async fn answer(&self, request_id: Option<RequestId>, text: String) -> Result<RunState, EmitError> {
        self.send(Command::Answer { request_id }, |reply| Then::Deliver { text, reply }).await
    }

    async fn send(&self, command: Command, then: impl FnOnce(Reply) -> Then) -> Result<RunState, EmitError> {
        let (reply, receiver) = oneshot::channel();
        let message = Message { command, then: then(Reply(reply)) };
        self.mailbox.send(message).await.map_err(|_| EmitError::Gone)?;
        receiver.await.unwrap_or(Err(EmitError::Gone))
    }
}

impl Writer {
    pub(super) fn new(machine: RunMachine, log: Arc<dyn RunLog>) -> (Self, WriterHandle) {
        let (sender, mailbox) = mpsc::channel(limits::WRITER_MAILBOX);
        let cancel = CancellationToken::new();
        let handle = WriterHandle { run_id: machine.run().run_id, mailbox: sender, cancel: cancel.clone() };
        (Self { machine, log, mailbox, cancel, waiting: HashMap::new(), full: false, lost: false }, handle)
    }

    /// Writes until the terminal event is in the log, or the run is left without one.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while !self.machine.run().state.is_terminal() && !self.machine.is_left() && !self.lost {
            if self.mailbox.recv_many(&mut batch, limits::WRITER_BATCH).await == 0 {
                // Everybody who could say something is gone, and nobody has said how it ended.
                let error = RunError::permanent("internal", "the run was abandoned");
                batch.push(Message { command: Command::Finish(Outcome::Failed(error)), then: Then::Nothing });
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
        for Message { command, then } in batch {
            let Some(command) = self.possible(command) else {
                then.refuse(EmitError::Full);
                continue;
            };
            let target = match &command {
                Command::Answer { request_id } => {
                    request_id.clone().or_else(|| next.oldest_open_question().cloned())
                }
                _ => None,
            };
            let cancels = matches!(command, Command::Cancel { .. } | Command::Stop(_));
            match next.apply(command, clock::now()) {
                Ok(new) => {
                    events.extend(new);
                    taken.push((target, cancels, next.run().state, then));
                }
                Err(refused) => then.refuse(refused.into()),
            }
        }
        match self.append(&next, events).await {
            Ok(()) => self.machine = next,
            Err(error) => {
                taken.into_iter().for_each(|(_, _, _, then)| then.refuse(error.clone()));
                self.full = true;
                self.lost = error != EmitError::Full;
                return self.cancel.cancel();
            }
        }
        for (target, cancels, state, then) in taken {
            if cancels {
                self.cancel.cancel();
            }
            self.tell(then, target, state);
        }
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

    fn tell(&mut self, then: Then, target: Option<RequestId>, state: RunState) {
        match then {
            Then::Nothing => {}
            Then::Reply(reply) => reply.send(Ok(state)),
            Then::Await { request_id, answer, reply } => {
                self.waiting.insert(request_id, answer);
                reply.send(Ok(state));
            }
            Then::Deliver { text, reply } => {
                if let Some(worker) = target.and_then(|it| self.waiting.remove(&it)) {
                    // A worker that has just stopped waiting does not want the answer any more.
                    drop(worker.send(text));
                }
                reply.send(Ok(state));
            }
        }
    }
}

impl Then {
    fn refuse(self, error: EmitError) {
        match self {
            Self::Nothing => {}
            Self::Reply(reply) | Self::Await { reply, .. } | Self::Deliver { reply, .. } => {
                reply.send(Err(error))
            }
        }
    }
}

impl Reply {
    fn send(self, result: Result<RunState, EmitError>) {
        // Whoever asked may have gone away; the command stands.
        drop(self.0.send(result));
    }
}
