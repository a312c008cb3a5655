//! Follows a run to its end: over cuts, with the person's answers and Ctrl-C on the way.

mod person;
mod question;

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{self, Instant, Interval, MissedTickBehavior};
use tonic::{Code, Streaming};

use super::{
    Exit,
    ask::Answers,
    client::Client,
    failure::Failure,
    interrupt::Interrupts,
    render::Render,
    resume::{Next, Resume, Seen},
};
use question::{Questions, Reply};

use crate::wire::v1::{self, EventType, RunState};

/// A stream that says nothing for so long is dead: the gateway sends a heartbeat every 15 s.
const MAX_SILENCE: Duration = Duration::from_secs(50);

/// A question that nobody has answered for so long after it came is put to the person. Of the log of an old run,
/// questions come together with their answers.
const SETTLE: Duration = Duration::from_millis(100);

/// How often the progress bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(120);

/// How a run that was followed has ended, or why it is followed no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// COMPLETE, with its message.
    Complete(String),
    /// ERROR.
    Error,
    /// CANCELLED.
    Cancelled,
    /// The person left.
    Left,
    /// It waits for an answer that nobody gives.
    Unanswered,
    /// The person's answer is handled by another run.
    ContinuedBy(String),
}

/// What Ctrl-C does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// Leave the run alone and go.
    Leave,
    /// Ask the gateway to cancel the run; go at the second.
    Cancel,
}

/// The run to follow, and from where.
pub(super) struct Subject {
    /// The run.
    pub(super) run_id: String,
    /// Its session; needed for answers.
    pub(super) session_id: String,
    /// Where to begin.
    pub(super) resume: Resume,
    /// What Ctrl-C does.
    pub(super) on_interrupt: OnInterrupt,
}

/// What following needs.
pub(super) struct Follow<'a> {
    pub(super) client: &'a mut Client,
    pub(super) out: &'a mut dyn Render,
    pub(super) answers: &'a mut Answers,
    pub(super) interrupts: &'a mut Interrupts,
}

struct Following<'a> {
    client: Client,
    out: &'a mut dyn Render,
    answers: &'a mut Answers,
    interrupts: &'a mut Interrupts,
    run: Subject,
    cancel: Cancel,
    /// What nobody has answered yet.
    questions: Questions,
    asked_at: Option<Instant>,
    prompted: bool,
    unsent: Option<Reply>,
    ticks: Interval,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    No,
    Wanted,
    Asked,
}

/// Why nothing more comes of one stream.
enum Stop {
    Ended(Ended),
    Cut(Failure),
    /// The gateway ended the stream without a terminal event.
    Finished,
}

impl Ended {
    /// The code to exit with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Complete(_) | Self::Unanswered | Self::ContinuedBy(_) => Exit::Good,
            Self::Error => Exit::Failed,
            Self::Cancelled | Self::Left => Exit::Cancelled,
        }
    }
}

impl Follow<'_> {
    /// Follows the run to its end.
    pub(super) async fn until_end(self, run: Subject) -> Result<Ended, Failure> {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let questions = Questions::new(self.answers.interactive());
        let mut following = Following {
            client: self.client.clone(),
            out: self.out,
            answers: self.answers,
            interrupts: self.interrupts,
            run,
            cancel: Cancel::No,
            questions,
            asked_at: None,
            prompted: false,
            unsent: None,
            ticks,
        };
        let ended = following.run().await;
        following.out.finish()?;
        *self.client = following.client;
        ended
    }
}

impl Following<'_> {
    async fn run(&mut self) -> Result<Ended, Failure> {
        loop {
            let stop = match self.open().await? {
                Ok(stream) => self.read(stream).await?,
                Err(stop) => stop,
            };
            let cause = match stop {
                Stop::Ended(ended) => return Ok(ended),
                Stop::Cut(cause) => cause,
                Stop::Finished => match self.state().await? {
                    Ok(ended) => return Ok(ended),
                    Err(cause) => cause,
                },
            };
            if let Some(ended) = self.wait(cause).await? {
                return Ok(ended);
            }
        }
    }

    /// Begins a watch where the last one ended. The outer error ends the command.
    async fn open(&mut self) -> Result<Result<Streaming<v1::WatchRunResponse>, Stop>, Failure> {
        let mut client = self.client.clone();
        let (run_id, after) = (self.run.run_id.clone(), self.run.resume.position().to_owned());
        let opened = self.meanwhile(async move { client.watch_run(&run_id, &after).await }).await?;
        Ok(match opened {
            None => Err(Stop::Ended(Ended::Left)),
            Some(Ok(stream)) => {
                self.run.resume.opened(Instant::now());
                Ok(stream)
            }
            Some(Err(cause)) => Err(Stop::Cut(cause)),
        })
    }

    /// Reads one stream as far as it goes.
    async fn read(&mut self, mut stream: Streaming<v1::WatchRunResponse>) -> Result<Stop, Failure> {
        loop {
            if let Some(stop) = self.catch_up_with_person().await? {
                return Ok(stop);
            }
            let ask_at = self.asked_at.filter(|_| !self.prompted).map(|it| it + SETTLE);
            tokio::select! {
                biased;
                () = self.interrupts.next() => if self.interrupted()? {
                    return Ok(Stop::Ended(Ended::Left));
                },
                message = time::timeout(MAX_SILENCE, stream.next()) => match message {
                    Ok(Some(Ok(message))) => if let Some(ended) = self.message(message)? {
                        return Ok(Stop::Ended(ended));
                    },
                    Ok(Some(Err(status))) => return Ok(Stop::Cut(self.client.failure(&status))),
                    Ok(None) => return Ok(Stop::Finished),
                    Err(_) => return Ok(Stop::Cut(self.broken("nothing was heard from it"))),
                },
                answer = self.answers.next(), if self.prompted => {
                    if let Some(stop) = self.answer(answer?).await? {
                        return Ok(stop);
                    }
                },
                () = time::sleep_until(ask_at.unwrap_or_else(Instant::now)), if ask_at.is_some() => {
                    self.prompt()?;
                }
                _ = self.ticks.tick() => self.out.tick()?,
            }
        }
    }

    /// Takes up one message; gives the end when it is the terminal event.
    fn message(&mut self, message: v1::WatchRunResponse) -> Result<Option<Ended>, Failure> {
        if self.run.resume.received() {
            self.out.notice("resumed; nothing was lost")?;
        }
        let seen = self.run.resume.take(&message);
        if seen == Seen::New {
            self.out.event(&message)?;
        }
        if seen != Seen::Heartbeat {
            self.note_question(&message)?;
        }
        Ok(match message.event_type() {
            EventType::Complete => Some(Ended::Complete(message.message)),
            EventType::Error => Some(Ended::Error),
            EventType::Cancelled => Some(Ended::Cancelled),
            _ => None,
        })
    }

    /// After a stream that ended without a terminal event: it may lie before the cursor that the watch began at.
    async fn state(&mut self) -> Result<Result<Ended, Failure>, Failure> {
        let (mut client, run_id) = (self.client.clone(), self.run.run_id.clone());
        let run = match self.meanwhile(async move { client.get_run(&run_id).await }).await? {
            None => return Ok(Ok(Ended::Left)),
            Some(Err(cause)) => return Ok(Err(cause)),
            Some(Ok(run)) => run,
        };
        Ok(match run.state() {
            RunState::Succeeded => Ok(Ended::Complete(String::new())),
            RunState::Failed => Ok(Ended::Error),
            RunState::Cancelled => Ok(Ended::Cancelled),
            _ => Err(self.broken("the stream ended early")),
        })
    }

    /// Waits before the next try; ends the command when there is none. Gives the end when the person leaves.
    async fn wait(&mut self, cause: Failure) -> Result<Option<Ended>, Failure> {
        if !cause.is_transient() {
            return Err(self.final_cause(cause));
        }
        if std::mem::take(&mut self.prompted) {
            self.out.answered()?;
            self.asked_at = Some(Instant::now());
        }
        let next = self.run.resume.cut(cause.retry_delay(), Instant::now());
        let Next::Retry { pause, first } = next else { return Err(self.gave_up(&cause)) };
        if first {
            let text = format!("lost the gateway at {}: {}; resuming", self.client.gateway(), cause.cause());
            self.out.notice(&text)?;
        }
        if self.meanwhile(time::sleep(pause)).await?.is_none() {
            return Ok(Some(Ended::Left));
        }
        self.client.reconnect();
        if self.unsent.is_some() {
            return self.check_unsent().await;
        }
        Ok(None)
    }

    /// The work's output, while Ctrl-C is heeded and the progress bar moves. `None`: the person leaves.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return Ok(Some(output)),
                () = self.interrupts.next() => if self.interrupted()? {
                    return Ok(None);
                },
                _ = self.ticks.tick() => self.out.tick()?,
            }
        }
    }

    /// The cause as the person should read it: a gateway that knew the run a moment ago and knows it no longer has
    /// forgotten it.
    fn final_cause(&self, cause: Failure) -> Failure {
        let forgotten = match cause.code() {
            Some(Code::NotFound) => cause.reason() == "RUN_NOT_FOUND",
            Some(Code::OutOfRange) => cause.reason() == "CURSOR_OUT_OF_RANGE" && self.run.resume.moved(),
            _ => false,
        };
        if !forgotten {
            return cause;
        }
        Failure::Forgotten {
            gateway: self.client.gateway().to_string(),
            run_id: self.run.run_id.clone(),
            cause: cause.to_string(),
        }
    }

    fn gave_up(&self, cause: &Failure) -> Failure {
        Failure::GaveUp {
            after: self.run.resume.give_up_after(),
            cause: cause.cause(),
            run_id: self.run.run_id.clone(),
            cursor: self.run.resume.cursor().to_owned(),
            argument: self.client.gateway().as_argument(),
        }
    }

    fn broken(&self, cause: &str) -> Failure {
        Failure::Unreachable {
            gateway: self.client.gateway().to_string(),
            cause: cause.to_owned(),
            before: true,
        }
    }
}
