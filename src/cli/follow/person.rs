//! The person on the way: questions and their answers, and Ctrl-C.

use tokio::time::Instant;

use super::{Cancel, Ended, Following, OnInterrupt, Stop};
use crate::{
    cli::{ask::Answer, failure::Failure, run},
    wire::v1::{self, RunState, watch_run_response::Detail},
};

/// What the gateway is told when the person presses Ctrl-C.
const CANCEL_REASON: &str = "cancelled at the terminal";

impl Following<'_> {
    /// Keeps count of the questions that wait for an answer.
    pub(super) fn note_question(&mut self, message: &v1::WatchRunResponse) {
        match &message.detail {
            Some(Detail::InputRequired(_)) => {
                self.questions += 1;
                self.asked_at.get_or_insert_with(Instant::now);
            }
            Some(Detail::State(state)) if !awaits_client(state.state()) => {
                self.questions = 0;
                self.asked_at = None;
                self.prompted = false;
            }
            _ => {}
        }
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
        if self.answers.interactive() {
            self.out.prompt()?;
        }
        Ok(())
    }

    pub(super) async fn answer(&mut self, answer: Answer) -> Result<Option<Stop>, Failure> {
        self.out.answered()?;
        match answer {
            Answer::Text(text) => {
                self.prompted = false;
                self.unsent = Some(text);
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
            Some(text) => self.submit(text).await,
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

    pub(super) async fn submit(&mut self, text: String) -> Result<Option<Stop>, Failure> {
        let mut client = self.client.clone();
        let (run_id, session_id) = (self.run.run_id.clone(), self.run.session_id.clone());
        let input = text.clone();
        let sent =
            self.meanwhile(async move { client.submit_input(&session_id, &run_id, &input).await }).await?;
        match sent {
            None => return Ok(Some(Stop::Ended(Ended::Left))),
            Some(Ok(run_id)) if run_id != self.run.run_id => {
                return Ok(Some(Stop::Ended(Ended::ContinuedBy(run_id))));
            }
            Some(Ok(_)) => {
                self.questions = self.questions.saturating_sub(1);
                self.asked_at = (self.questions > 0).then(Instant::now);
            }
            Some(Err(cause)) if cause.is_transient() => {
                self.unsent = Some(text);
                return Ok(Some(Stop::Cut(cause)));
            }
            Some(Err(cause)) => {
                self.out.notice(&format!("the answer was not taken: {cause}"))?;
                self.asked_at = (self.questions > 0).then(Instant::now);
            }
        }
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

/// True while a question may be open: a run that waits for several things at a time tells of the oldest.
fn awaits_client(state: RunState) -> bool {
    matches!(state, RunState::WaitingInput | RunState::WaitingTool | RunState::WaitingApproval)
}
