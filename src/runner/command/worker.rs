//! The worker that a program is.

use std::{io, os::unix::process::ExitStatusExt as _, path::PathBuf, process::ExitStatus, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Map, Value};
use tokio::{
    io::AsyncWriteExt as _,
    process::ChildStdin,
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    lines::{Line, Lines},
    message::{Begin, Said, decision, input_answer, tool_result},
    process::{Pipes, Process},
};
use crate::{
    model::{Answer, ClientView, Refused, Request, RequestId, RunError, WorkerKey, limits},
    run::EmitError,
    runner::{
        AskError, Backend, NoAnswer, Pending, Task, ToolCall, ToolError, Worker, WorkerOutput,
        WorkerSettings, WorkerSpec, call_tool,
    },
};

/// The longest line of standard output. A longer one is an error: its end, and with it its meaning, is unknown.
const STDOUT_LINE_BYTES: usize = limits::EVENT_TEXT_BYTES;
/// The longest line of standard error. A longer one is cut.
const STDERR_LINE_BYTES: usize = 64 << 10;
/// Answers on their way to a program that does not read. A program that asks for more than this has failed.
const ANSWERS: usize = 64;
/// Answers that one program may wait for at a time. A call of a tool beyond it is answered with an error at once.
const AWAITED: usize = 64;
/// How long what a program has started may go on after the program's own end. Then its group is killed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// When nothing has come for so long after that, somebody who has left the group holds the pipes; nobody waits for him.
const QUIET: Duration = Duration::from_millis(100);

/// See the module.
pub struct CommandWorker {
    spec: WorkerSpec,
    command: Vec<String>,
    folder: PathBuf,
}

/// A program at work.
struct Work<'a> {
    task: &'a Task,
    answers: mpsc::Sender<Value>,
    /// What the program waits for: words of the person, results of tools. Gives the line that tells it.
    awaited: FuturesUnordered<BoxFuture<'a, Option<Value>>>,
    result: Option<Value>,
    error: Option<RunError>,
    view: Option<ClientView>,
    last_stderr: String,
}

impl CommandWorker {
    /// The worker `key`, started in `folder`.
    pub fn new(key: WorkerKey, settings: WorkerSettings, folder: PathBuf) -> Self {
        Self { spec: settings.spec(key, Backend::Command), command: settings.command, folder }
    }

    fn begin(&self, task: &Task) -> Value {
        let inputs: Map<_, _> =
            task.inputs.iter().map(|(key, output)| (key.as_str().to_owned(), output.value.clone())).collect();
        let request = &task.request;
        let begin = Begin {
            run_id: request.run_id.to_string(),
            session_id: request.session.session_id.as_str(),
            pipeline_id: request.pipeline_id.as_str(),
            params: &request.params,
            inputs,
        };
        serde_json::to_value(begin).unwrap_or_default()
    }
}

#[async_trait]
impl Worker for CommandWorker {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let (mut process, pipes) = Process::start(&self.command, &self.folder).map_err(|error| {
            let program = self.command.first().map(String::as_str).unwrap_or_default();
            tracing::warn!(worker = %self.spec.key, program, %error, "could not start a program");
            let why = if error.kind() == io::ErrorKind::NotFound {
                "it was not found"
            } else {
                "the system refused"
            };
            RunError::permanent("worker_failed", format!("cannot start `{program}`: {why}"))
        })?;
        let (answers, stdin_lines) = mpsc::channel(ANSWERS);
        drop(answers.send(self.begin(&task)).await);
        let mut work = Work {
            task: &task,
            answers,
            awaited: FuturesUnordered::new(),
            result: None,
            error: None,
            view: None,
            last_stderr: String::new(),
        };
        let Pipes { stdin, stdout, stderr } = pipes;
        let stdout = Lines::new(stdout, STDOUT_LINE_BYTES);
        let stderr = Lines::new(stderr, STDERR_LINE_BYTES);
        let status = tokio::select! {
            status = work.follow(&mut process, stdout, stderr) => status?,
            () = feed(stdin, stdin_lines) => unreachable!("stdin is fed until the program has ended"),
        };
        work.output(status)
    }
}

impl Work<'_> {
    /// Takes up what the program says until it has ended.
    async fn follow<O, E>(
        &mut self,
        process: &mut Process,
        mut stdout: Lines<O>,
        mut stderr: Lines<E>,
    ) -> Result<ExitStatus, RunError>
    where
        O: tokio::io::AsyncRead + Unpin,
        E: tokio::io::AsyncRead + Unpin,
    {
        let (mut stdout_open, mut stderr_open, mut told, mut killed) = (true, true, false, false);
        let mut status: Option<ExitStatus> = None;
        let group = process.group();
        // Made once, because a line comes with nearly every turn, and the others with hardly any.
        let (cancelled, ended) = (self.task.cancel.cancelled(), process.wait());
        let (last_words, quiet) = (sleep(LAST_WORDS), sleep(QUIET));
        tokio::pin!(cancelled, ended, last_words, quiet);
        while stdout_open || stderr_open || status.is_none() {
            if killed {
                quiet.as_mut().reset(Instant::now() + QUIET);
            }
            tokio::select! {
                biased;
                () = &mut cancelled, if !told => {
                    told = true;
                    group.terminate();
                }
                end = &mut ended, if status.is_none() => {
                    status = Some(end.map_err(broken)?);
                    last_words.as_mut().reset(Instant::now() + LAST_WORDS);
                }
                () = &mut last_words, if status.is_some() && !killed => {
                    killed = true;
                    group.kill();
                }
                Some(line) = self.awaited.next(), if !self.awaited.is_empty() => {
                    line.map_or(Ok(()), |line| self.answer(line))?;
                }
                line = stdout.next(), if stdout_open => match line.map_err(broken)? {
                    Some(line) => self.said_with(line, &mut stdout).await?,
                    None => stdout_open = false,
                },
                line = stderr.next(), if stderr_open => match line.map_err(broken)? {
                    Some(line) => self.complained(line).await?,
                    None => stderr_open = false,
                },
                // Begun anew with each turn, and asked last: what is in the pipes is read before.
                () = &mut quiet, if killed => break,
            }
        }
        status.ok_or_else(|| RunError::permanent("worker_failed", "the program got lost"))
    }

    /// Takes a line, and those that were read with it: they are there, and nothing else has happened meanwhile that comes
    /// before them.
    async fn said_with<R>(&mut self, line: Line, stdout: &mut Lines<R>) -> Result<(), RunError>
    where
        R: tokio::io::AsyncRead + Unpin,
    {
        self.said(line).await?;
        while self.awaited.is_empty()
            && !self.task.cancel.is_cancelled()
            && let Some(line) = stdout.read_before()
        {
            self.said(line).await?;
        }
        Ok(())
    }

    async fn said(&mut self, line: Line) -> Result<(), RunError> {
        if line.cut {
            let text = format!("a line of output is longer than {STDOUT_LINE_BYTES} bytes");
            return Err(RunError::permanent("worker_protocol", text));
        }
        let emitter = &self.task.emitter;
        match Said::read(&line.text) {
            Said::Log(message) => emitter.log(message).await?,
            Said::Progress { percent, message } => emitter.progress(percent, message).await?,
            Said::Delta(text) => emitter.delta(text).await?,
            Said::View(view) => {
                self.view = Some(view.clone());
                emitter.view("", view).await?;
            }
            Said::Result(output) => self.result = Some(output),
            Said::Error { message, retryable } => {
                let error = RunError::permanent("worker_failed", message);
                self.error = Some(RunError { retryable, ..error });
            }
            Said::Input { request_id, prompt } => {
                if let Some(pending) = ask(self.task, &request_id, Request::Input { prompt }).await? {
                    self.awaited.push(Box::pin(async move { words(&request_id, pending.answer().await) }));
                }
            }
            Said::ToolCall { tool_call_id, tool_name, args } => {
                self.call(ToolCall { id: tool_call_id, name: tool_name, args });
            }
            Said::Approval { approval_id, tool_call_id, tool_name, summary } => {
                let id = RequestId(approval_id);
                let request = Request::Approval { tool_call_id, tool_name, summary };
                if let Some(pending) = ask(self.task, &id, request).await? {
                    self.awaited.push(Box::pin(async move { decided(&id, pending.answer().await) }));
                }
            }
        }
        Ok(())
    }

    async fn complained(&mut self, line: Line) -> Result<(), RunError> {
        self.last_stderr.clone_from(&line.text);
        let text = if line.cut { format!("{} … [cut]", line.text) } else { line.text };
        Ok(self.task.emitter.log(text).await?)
    }

    /// Calls a tool while the program goes on.
    fn call(&mut self, call: ToolCall) {
        let task = self.task;
        let busy = self.awaited.len() >= AWAITED;
        self.awaited.push(Box::pin(async move {
            let id = call.id.clone();
            if busy {
                return Some(tool_result(&id, Err(ToolError::Failed("too many calls at a time".to_owned()))));
            }
            Some(tool_result(&id, call_tool(task, call).await))
        }));
    }

    fn answer(&self, line: Value) -> Result<(), RunError> {
        let full = |_| RunError::permanent("worker_protocol", "the program does not read its answers");
        self.answers.try_send(line).map_err(full)
    }

    fn output(self, status: ExitStatus) -> Result<WorkerOutput, RunError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !status.success() {
            return Err(RunError::permanent("worker_failed", failure(status, &self.last_stderr)));
        }
        Ok(WorkerOutput {
            value: self.result.unwrap_or_default(),
            view: self.view,
            ..WorkerOutput::default()
        })
    }
}

/// Asks something of the client. `None` when the run takes no more: the program, which could not know, is told to end.
async fn ask(task: &Task, id: &RequestId, request: Request) -> Result<Option<Pending>, RunError> {
    match task.emitter.ask(id.clone(), request).await {
        Ok(pending) => Ok(Some(pending)),
        Err(AskError::Refused(EmitError::Refused(
            error @ (Refused::RequestIdUsed(_) | Refused::TooManyOpen),
        ))) => Err(RunError::permanent("worker_protocol", error.to_string())),
        Err(AskError::Refused(_)) => Ok(None),
        Err(error) => Err(RunError::permanent("worker_protocol", error.to_string())),
    }
}

fn words(id: &RequestId, answer: Result<Answer, NoAnswer>) -> Option<Value> {
    match answer {
        Ok(Answer::Input(text)) => Some(input_answer(id, Ok(&text))),
        Ok(_) => None,
        Err(error) => Some(input_answer(id, Err(error))),
    }
}

fn decided(id: &RequestId, answer: Result<Answer, NoAnswer>) -> Option<Value> {
    match answer {
        Ok(Answer::Approved { reason }) => Some(decision(id, Ok((true, &reason)))),
        Ok(Answer::Rejected { reason }) => Some(decision(id, Ok((false, &reason)))),
        Ok(_) => None,
        Err(error) => Some(decision(id, Err(error))),
    }
}

/// Writes lines to the program as it takes them. Never returns: a program that reads nothing more is no error.
async fn feed(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Value>) {
    while let Some(line) = lines.recv().await {
        let text = format!("{line}\n");
        if let Err(error) = stdin.write_all(text.as_bytes()).await {
            tracing::debug!(%error, "a program does not read its standard input");
            break;
        }
    }
    std::future::pending().await
}

fn failure(status: ExitStatus, last_stderr: &str) -> String {
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("the program ended with exit code {code}"),
        (None, Some(signal)) => format!("the program was ended by signal {signal}"),
        (None, None) => "the program ended in an unknown way".to_owned(),
    };
    let last: String = last_stderr.trim().chars().take(500).collect();
    if last.is_empty() { end } else { format!("{end}: {last}") }
}

fn broken(error: io::Error) -> RunError {
    tracing::warn!(%error, "lost the pipes of a program");
    RunError::retryable("worker_failed", "the connection to the program broke")
}
