//! `rungate run`: start a run and watch it, with the conversation that may come of it.

use std::{collections::HashMap, path::Path, time::Duration};

use futures::FutureExt as _;
use serde_json::json;

use super::{
    Exit,
    args::RunArgs,
    ask::{Answer, Answers},
    client::Client,
    failure::Failure,
    follow::{Ended, Follow, OnInterrupt, Subject},
    gateway_url::GatewayUrl,
    interrupt::Interrupts,
    render::{self, Muted, Render, text},
    resume::Resume,
    session_file::SessionFile,
};
use crate::{
    model::{SessionId, WorkerKey},
    wire::v1,
};

/// The conversation, under its present and its former name.
const CONVERSATION: [&str; 2] = ["plan_pipeline", "init_purpose"];

/// The message of a COMPLETE that asks for an answer.
const INPUT_REQUIRED: &str = "INPUT_REQUIRED";

/// The parameter that carries what the person says.
const USER_INPUT: &str = "user_input";

/// Tries to hand over one answer of the conversation.
const SUBMIT_TRIES: u32 = 5;

/// The pause between two of them.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A run that was started.
struct Started {
    session_id: String,
    run_id: String,
}

/// The command.
pub(super) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let params = params(&args)?;
    let mut client = Client::new(&args.gateway.gateway)?;
    let mut interrupts = Interrupts::new()?;
    let mut out = render::new(args.follow.json, &args.pipeline);
    let started = Starting { args: &args, client: &mut client, out: &mut *out, interrupts: &mut interrupts };
    let started = started.start(params).await;
    out.finish()?;
    let Started { session_id, run_id } = started?;
    if args.detach {
        return detached(&args, &session_id, &run_id);
    }
    if !args.follow.json {
        out.notice(&format!("run {run_id}"))?;
    }
    let mut talk = Talk {
        args: &args,
        client: &mut client,
        out: &mut *out,
        interrupts: &mut interrupts,
        answers: Answers::from_stdin(),
        session_id,
    };
    talk.until_end(run_id).await
}

/// How a run that waits can be answered by somebody else than this command.
pub(super) fn hint_to_answer(run_id: &str, gateway: &GatewayUrl) -> String {
    let argument = gateway.as_argument();
    format!("run {run_id} waits for an answer; give it at a terminal: rungate watch {run_id}{argument}")
}

struct Starting<'a> {
    args: &'a RunArgs,
    client: &'a mut Client,
    out: &'a mut dyn Render,
    interrupts: &'a mut Interrupts,
}

impl Starting<'_> {
    async fn start(mut self, params: HashMap<String, String>) -> Result<Started, Failure> {
        let greets = is_conversation(&self.args.pipeline) && !params.contains_key(USER_INPUT);
        let session_id = match &self.args.session {
            Some(session_id) => {
                self.interrupts.or(self.client.check_session(session_id)).await?;
                if !self.args.user.is_empty() || !self.args.repo.is_empty() {
                    let session = SessionId::parse(session_id).ok();
                    let started = self.init(session, greets).await?;
                    if greets {
                        return Ok(started);
                    }
                    started.session_id
                } else {
                    session_id.clone()
                }
            }
            None => {
                let file = SessionFile::of(self.client.gateway());
                let remembered = if self.args.new_session { None } else { file.read() };
                let started = self.init(remembered, greets).await?;
                remember(&file, &started.session_id, self.out)?;
                if greets {
                    return Ok(started);
                }
                started.session_id
            }
        };
        let request = v1::StartRunRequest {
            session_id: session_id.clone(),
            pipeline_id: self.args.pipeline.clone(),
            params,
            ..Default::default()
        };
        let run_id = self.interrupts.or(self.client.start_run(request)).await?;
        Ok(Started { session_id, run_id })
    }

    /// Makes sure of the session; its bootstrap run has ended afterwards, unless it is the run that was asked for.
    async fn init(&mut self, session: Option<SessionId>, greets: bool) -> Result<Started, Failure> {
        let repo = absolute_repo(&self.args.repo);
        let made = self.client.init_run(session.as_ref(), &self.args.user, &repo);
        let v1::InitRunResponse { session_id, bootstrap_run_id: run_id, .. } =
            self.interrupts.or(made).await?;
        let started = Started { session_id, run_id };
        let run = self.interrupts.or(self.client.get_run(&started.run_id)).await?;
        if !is_conversation(&run.pipeline_id) {
            // The session is in use, and what it does is not a bootstrap run that would soon be over.
            let argument = self.client.gateway().as_argument();
            return Err(Failure::Busy { session_id: started.session_id, run_id: started.run_id, argument });
        }
        if !greets {
            self.wait_for_bootstrap(&started).await?;
        }
        Ok(started)
    }

    async fn wait_for_bootstrap(&mut self, bootstrap: &Started) -> Result<(), Failure> {
        let mut muted = Muted::new(self.out, "preparing the session");
        let follow = Follow {
            client: self.client,
            out: &mut muted,
            answers: &mut Answers::nobody(),
            interrupts: self.interrupts,
        };
        let subject = Subject {
            run_id: bootstrap.run_id.clone(),
            session_id: bootstrap.session_id.clone(),
            resume: Resume::new("", 0, self.args.follow.give_up_after),
            on_interrupt: OnInterrupt::Leave,
        };
        match follow.until_end(subject).await? {
            Ended::Left => Err(Failure::Interrupted),
            Ended::Error => {
                self.out.notice(&format!("the session's bootstrap run failed: {}", bootstrap.run_id))?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A run, and the runs that continue it.
struct Talk<'a> {
    args: &'a RunArgs,
    client: &'a mut Client,
    out: &'a mut dyn Render,
    interrupts: &'a mut Interrupts,
    answers: Answers,
    session_id: String,
}

impl Talk<'_> {
    async fn until_end(&mut self, mut run_id: String) -> Result<Exit, Failure> {
        loop {
            let ended = self.follow(&run_id).await?;
            run_id = match ended {
                Ended::ContinuedBy(next) => next,
                Ended::Complete(message) if message == INPUT_REQUIRED => match self.reply(&run_id).await? {
                    Some(next) => next,
                    None => return Ok(Exit::Good),
                },
                ended => return Ok(ended.exit()),
            };
        }
    }

    async fn follow(&mut self, run_id: &str) -> Result<Ended, Failure> {
        let follow = Follow {
            client: self.client,
            out: self.out,
            answers: &mut self.answers,
            interrupts: self.interrupts,
        };
        let subject = Subject {
            run_id: run_id.to_owned(),
            session_id: self.session_id.clone(),
            resume: Resume::new("", 0, self.args.follow.give_up_after),
            on_interrupt: OnInterrupt::Cancel,
        };
        follow.until_end(subject).await
    }

    /// Answers a run that has completed with a question; gives the run that continues. `None`: nobody answers.
    async fn reply(&mut self, run_id: &str) -> Result<Option<String>, Failure> {
        loop {
            if self.answers.interactive() {
                self.out.prompt()?;
            }
            let answers = &mut self.answers;
            let answer = self.interrupts.or(async { Ok(answers.next().await?) }).await;
            self.out.answered()?;
            match answer? {
                Answer::Unfit(why) => self.out.notice(why)?,
                Answer::Text(text) => return self.submit(run_id, &text).await.map(Some),
                Answer::End => {
                    let (session_id, argument) = (&self.session_id, self.client.gateway().as_argument());
                    self.out.notice(&format!(
                        "the conversation waits for your answer; give it so: \
                         rungate run plan_pipeline --session {session_id} --input 'TEXT'{argument}"
                    ))?;
                    return Ok(None);
                }
            }
        }
    }

    /// An answer names the run that asked, and the gateway takes it only while that run is the session's latest; so
    /// it can be sent again after a cut without being taken twice.
    async fn submit(&mut self, run_id: &str, text: &str) -> Result<String, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = self.client.submit_input(&self.session_id, run_id, text, "");
            match self.interrupts.or(sent).await {
                Err(cause) if cause.is_transient() && tries < SUBMIT_TRIES => {
                    self.out.notice(&format!("the answer was not handed over: {}; again", cause.cause()))?;
                    let pause = tokio::time::sleep(cause.retry_delay().unwrap_or_default().max(RETRY_PAUSE));
                    self.interrupts.or(pause.map(Ok)).await?;
                    self.client.reconnect();
                }
                Err(cause) if tries > 1 && cause.reason() == "RUN_NOT_ACTIVE" => {
                    // An earlier try arrived after all.
                    let runs = self.client.list_runs(&self.session_id, 1, "");
                    let newest = self.interrupts.or(runs).await?.runs.into_iter().next();
                    return newest.map(|it| it.run_id).ok_or(cause);
                }
                sent => return sent,
            }
        }
    }
}

fn detached(args: &RunArgs, session_id: &str, run_id: &str) -> Result<Exit, Failure> {
    let line = if args.follow.json {
        json!({"runId": run_id, "sessionId": session_id}).to_string()
    } else {
        run_id.to_owned()
    };
    text::write_line(&line)?;
    Ok(Exit::Good)
}

fn remember(file: &SessionFile, session_id: &str, out: &mut dyn Render) -> Result<(), Failure> {
    let Ok(session_id) = SessionId::parse(session_id) else { return Ok(()) };
    if file.read().as_ref() == Some(&session_id) {
        return Ok(());
    }
    if let Err(error) = file.write(&session_id) {
        out.notice(&format!("could not remember the session: {}", text::io_error(&error)))?;
    }
    Ok(())
}

fn params(args: &RunArgs) -> Result<HashMap<String, String>, Failure> {
    let mut params = HashMap::new();
    let input = args.input.iter().map(|it| (USER_INPUT.to_owned(), it.clone()));
    for (key, value) in args.params.iter().cloned().chain(input) {
        if params.insert(key.clone(), value).is_some() {
            let and = if key == USER_INPUT { " (--input gives it too)" } else { "" };
            return Err(Failure::Usage(format!("the parameter `{key}` is given twice{and}")));
        }
    }
    Ok(params)
}

fn is_conversation(pipeline: &str) -> bool {
    let key = WorkerKey::new(pipeline);
    CONVERSATION.contains(&key.normalized())
}

/// A folder of this machine by its full path: the gateway has a working directory of its own.
fn absolute_repo(repo: &str) -> String {
    if !repo.is_empty()
        && let Ok(path) = Path::new(repo).canonicalize()
        && let Some(path) = path.to_str()
    {
        return path.to_owned();
    }
    repo.to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        args: RunArgs,
    }

    fn typed(words: &[&str]) -> RunArgs {
        Typed::try_parse_from(["run", "x"].iter().chain(words)).unwrap().args
    }

    #[test]
    fn input_is_a_parameter() {
        let params = params(&typed(&["--param", "a=1", "--input", "hello"])).unwrap();
        assert_eq!((params["a"].as_str(), params["user_input"].as_str()), ("1", "hello"));
    }

    #[test]
    fn a_parameter_given_twice_is_wrong_usage() {
        for words in [["--param", "a=1", "--param", "a=2"], ["--param", "user_input=x", "--input", "y"]] {
            let failure = params(&typed(&words)).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{words:?}");
        }
    }

    #[test]
    fn the_conversation_has_two_names() {
        for (pipeline, expected) in
            [(" Plan_Pipeline", true), ("init_purpose", true), ("test_pipeline", false)]
        {
            assert_eq!(is_conversation(pipeline), expected, "{pipeline}");
        }
    }

    #[test]
    fn a_folder_goes_by_its_full_path_and_an_address_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let dotted = folder.path().join(".");
        let full = folder.path().canonicalize().unwrap();
        assert_eq!(absolute_repo(&dotted.display().to_string()), full.display().to_string());
        for repo in ["", "https://example.com/a.git", "git@example.com:a/b.git"] {
            assert_eq!(absolute_repo(repo), repo);
        }
    }
}
