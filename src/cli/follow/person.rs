//! The person on the way: questions and their answers, and Ctrl-C.

use tokio::time::Instant;

use super::{
    Cancel, Ended, Following, OnInterrupt, Stop,
    question::{Question, Reply, awaits_client},
};
use crate::{
    cli::{ask::Answer, failure::Failure, run},
    wire::v1,
};

/// What the gateway is told when the person presses Ctrl-C.
const CANCEL_REASON: &str = "cancelled at the terminal";

impl Following<'_> {
    /// Keeps in mind what waits for an answer. The one that the person is asked may have been answered by somebody else.
    pub(super) fn note_question(&mut self, message: &v1::WatchRunResponse) -> Result<(), Failure> {
        let Some(detail) = &message.detail else { return Ok(()) };
        let before = self.questions.oldest().cloned();
        self.questions.note(detail);
        if self.questions.oldest() == before.as_ref() {
            return Ok(());
        }
        if std::mem::take(&mut self.prompted) {
            self.out.answered()?;
        }
        self.ask_later();
        Ok(())
    }

    /// The person is asked in a moment, if there is something to ask.
    fn ask_later(&mut self) {
        self.asked_at = self.questions.oldest().map(|_| Instant::now());
    }

    /// Lets the person answer the oldest open question, which stands above.
    pub(super) fn prompt(&mut self) -> Result<(), Failure> {
        self.asked_at = None;
        if !self.answers.possible() {
            let hint = run::hint_to_answer(&self.run.run_id, self.client.gateway());
            self.out.notice(&hint)?;
            return Ok(());
        }
        self.prompted = true;
        if self.questions.oldest().is_some_and(Question::is_approval) {
            self.out.notice("y approves, n rejects")?;
        }
        if self.answers.interactive() {
            self.out.prompt()?;
        }
        Ok(())
    }

    pub(super) async fn answer(&mut self, answer: Answer) -> Result<Option<Stop>, Failure> {
        self.out.answered()?;
        match answer {
            Answer::Text(text) => {
                match self.questions.oldest().map(|it| it.reply(text)) {
                    Some(None) => self.prompt()?,
                    reply => {
                        self.prompted = false;
                        self.unsent = reply.flatten();
                    }
                }
                Ok(None)
            }
            Answer::Unfit(why) => {
                self.out.notice(why)?;
                self.prompt()?;
                Ok(None)
            }
            Answer::End => {
                let hint = run::hint_to_answer(&self.run.run_id, self.client.gateway());
                self.out.notice(&hint)?;
                Ok(Some(Stop::Ended(Ended::Unanswered)))
            }
        }
    }

    /// Tells the gateway what the person wants and has not been told yet.
    pub(super) async fn catch_up_with_person(&mut self) -> Result<Option<Stop>, Failure> {
        if self.cancel == Cancel::Wanted
            && let Some(stop) = self.ask_to_cancel().await?
        {
            return Ok(Some(stop));
        }
        match self.unsent.take() {
            Some(reply) => self.submit(reply).await,
            None => Ok(None),
        }
    }

    pub(super) async fn ask_to_cancel(&mut self) -> Result<Option<Stop>, Failure> {
        let (mut client, run_id) = (self.client.clone(), self.run.run_id.clone());
        let asked = self.meanwhile(async move { client.cancel_run(&run_id, CANCEL_REASON).await }).await?;
        match asked {
            None => return Ok(Some(Stop::Ended(Ended::Left))),
            Some(Ok(_)) => self.cancel = Cancel::Asked,
            Some(Err(cause)) if cause.is_transient() => return Ok(Some(Stop::Cut(cause))),
            Some(Err(cause)) => {
                self.cancel = Cancel::Asked;
                self.out.notice(&format!("the run was not cancelled: {cause}"))?;
            }
        }
        Ok(None)
    }

    pub(super) async fn submit(&mut self, reply: Reply) -> Result<Option<Stop>, Failure> {
        let mut client = self.client.clone();
        let (run_id, session_id) = (self.run.run_id.clone(), self.run.session_id.clone());
        let question = reply.question();
        let sending = reply.clone();
        let sent = self.meanwhile(async move {
            match sending {
                Reply::Words { request_id, text } => {
                    client.submit_input(&session_id, &run_id, &text, &request_id).await
                }
                Reply::Decision { approval_id, approve } => {
                    client.submit_approval(&run_id, &approval_id, approve).await.map(|()| run_id)
                }
            }
        });
        match sent.await? {
            None => return Ok(Some(Stop::Ended(Ended::Left))),
            Some(Ok(run_id)) if run_id != self.run.run_id => {
                return Ok(Some(Stop::Ended(Ended::ContinuedBy(run_id))));
            }
            Some(Ok(_)) => self.questions.close(&question),
            Some(Err(cause)) if cause.is_transient() => {
                self.unsent = Some(reply);
                return Ok(Some(Stop::Cut(cause)));
            }
            Some(Err(cause)) => {
                // What is no longer waited for was answered by another client, or too late; the run tells which.
                if cause.reason() == "NOT_PENDING" {
                    self.questions.close(&question);
                }
                self.out.notice(&format!("the answer was not taken: {cause}"))?;
            }
        }
        self.ask_later();
        Ok(None)
    }

    /// Whether an answer that was under way when the connection broke has arrived: then the run waits no longer.
    pub(super) async fn check_unsent(&mut self) -> Result<Option<Ended>, Failure> {
        let (mut client, run_id) = (self.client.clone(), self.run.run_id.clone());
        match self.meanwhile(async move { client.get_run(&run_id).await }).await? {
            None => return Ok(Some(Ended::Left)),
            Some(Ok(run)) if !awaits_client(run.state()) => self.unsent = None,
            // The watch that follows meets the same trouble and tells of it.
            Some(_) => {}
        }
        Ok(None)
    }

    /// Ctrl-C; true when the person leaves.
    pub(super) fn interrupted(&mut self) -> Result<bool, Failure> {
        let (run_id, argument) = (&self.run.run_id, self.client.gateway().as_argument());
        if self.run.on_interrupt == OnInterrupt::Cancel && self.cancel == Cancel::No {
            self.cancel = Cancel::Wanted;
            self.out.notice(&format!("cancelling run {run_id}; press Ctrl-C again to leave at once"))?;
            return Ok(false);
        }
        let goes_on = if self.cancel == Cancel::Asked { "was asked to stop" } else { "goes on" };
        self.out.notice(&format!("left; the run {goes_on}; see: rungate watch {run_id}{argument}"))?;
        Ok(true)
    }
}
