//! What can be typed. The documentation comments are the help texts.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jiff::fmt::friendly::SpanParser;

use super::gateway_url::GatewayUrl;
use crate::model::RunId;

/// The environment variable that names the gateway.
pub const GATEWAY_VARIABLE: &str = "RUNGATE_GATEWAY";

/// The environment variable that names the data folder, for the gateway and for those who read it.
const DATA_VARIABLE: &str = "RUNGATE_DATA";

/// Runs that `runs` lists when the person does not say.
const LISTED: u32 = 20;

const RUN_EXAMPLES: &str = "\
Examples:
  Watch five steps go by:
      rungate run test_pipeline

  Talk about a repository; the gateway asks, you answer:
      rungate run plan_pipeline --repo https://example.com/team/project.git

  The same without questions, for a script:
      rungate run plan_pipeline --repo . --input 'find the entry points'

  Start a worker with parameters and leave it to itself:
      rungate run count --param n=100 --detach

  Read events in a script:
      rungate run count --json | jq -r .message

Exit codes:
  0    The run completed, or asks for an answer that nobody can give here.
  1    The run failed, or the gateway could not be reached.
  2    The usage was wrong, such as an unknown worker.
  130  The run was cancelled, or you left with Ctrl-C.

Ctrl-C asks the gateway to cancel the run and goes on watching until it has ended; a second Ctrl-C leaves at once.

Without --session the session of the last run on the same gateway is used. It is remembered in
$XDG_STATE_HOME/rungate/session-HOST_PORT (or below ~/.local/state).";

const WATCH_EXAMPLES: &str = "\
Examples:
  See everything a run has done and does:
      rungate watch run_0197e1a0-7c5b-7d3e-9a64-0d6a5b8f2c11

  See only what is new:
      rungate watch run_0197e1a0-7c5b-7d3e-9a64-0d6a5b8f2c11 --after now

Exit codes:
  0    The run completed.
  1    The run failed, or the gateway could not be reached.
  2    The usage was wrong.
  130  The run was cancelled, or you left with Ctrl-C.

Ctrl-C leaves; the run goes on.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  Keep everything before it is dropped:
      rungate runs export --data /var/lib/rungate --out runs.ndjson

  Read the messages of one run:
      rungate runs export run_0197e1a0-7c5b-7d3e-9a64-0d6a5b8f2c11 | jq -r 'select(.sequence).message'

Each run is one line, {\"run\": …, \"params\": …}, and after it one line for each of its events, in the shape that the
gateway's event streams have. The folder is only read; a gateway may be at work in it. What is damaged is told on standard
error, and exported as far as it can be read.

Exit codes:
  0    Done.
  1    There is no such folder, or a run that was named is not in it.
  2    The usage was wrong.";

/// Commands that talk to a gateway.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Start a run and watch it until it ends.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Watch a run from its first event, or from a cursor, until it ends.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// List the runs of a session, newest first.
    Runs(RunsArgs),
    /// List the workers that can be started.
    Workers(WorkersArgs),
    /// Ask a run to stop.
    Cancel(CancelArgs),
}

/// Which gateway.
#[derive(Debug, Args)]
pub(super) struct GatewayArgs {
    /// Talk to the gateway at this address.
    #[arg(long, env = GATEWAY_VARIABLE, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(super) gateway: GatewayUrl,
}

/// How events are followed and shown.
#[derive(Debug, Args)]
pub(super) struct FollowArgs {
    /// Print one event per line as JSON, in the shape that the gateway's event streams have.
    #[arg(long)]
    pub(super) json: bool,
    /// When the connection is cut, try to resume for this long, then exit with 1.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(super) give_up_after: Duration,
}

/// See [`ClientCommand::Run`].
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Start this pipeline or worker; `rungate workers` lists them.
    #[arg(value_name = "PIPELINE")]
    pub(super) pipeline: String,
    /// Give the run a parameter; may be used several times.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parse_param)]
    pub(super) params: Vec<(String, String)>,
    /// Say this to the run; it is the parameter `user_input`.
    #[arg(long, value_name = "TEXT")]
    pub(super) input: Option<String>,
    /// Run in this session; without it, in the one of the last run on this gateway.
    #[arg(long, value_name = "ID", conflicts_with = "new_session")]
    pub(super) session: Option<String>,
    /// Begin a fresh session and remember it.
    #[arg(long)]
    pub(super) new_session: bool,
    /// Say whose session it is.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(super) user: String,
    /// Give the session a repository: what git can clone, or a folder on the gateway's machine.
    #[arg(long, value_name = "URL_OR_PATH", default_value = "", hide_default_value = true)]
    pub(super) repo: String,
    /// Print the id of the run and leave it to itself.
    #[arg(long)]
    pub(super) detach: bool,
    #[command(flatten)]
    pub(super) follow: FollowArgs,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// See [`ClientCommand::Watch`].
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Watch this run; `rungate runs` lists them.
    #[arg(value_name = "RUN_ID")]
    pub(super) run_id: String,
    /// Begin after the event with this cursor, or with what is new from now on.
    #[arg(long, value_name = "CURSOR|now", default_value = "", hide_default_value = true)]
    pub(super) after: String,
    #[command(flatten)]
    pub(super) follow: FollowArgs,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// See [`ClientCommand::Runs`].
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    pub(super) command: Option<RunsCommand>,
    /// List the runs of this session; without it, of the one of the last run on this gateway.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// List no more than this many.
    #[arg(long, value_name = "N", default_value_t = LISTED, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    /// Print one run per line as JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// What can be done with runs beside listing them.
#[derive(Debug, Subcommand)]
pub(super) enum RunsCommand {
    /// Write runs and all their events as JSON lines, read from a data folder; no gateway is asked.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
}

/// See [`RunsCommand::Export`].
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Read the runs in this data folder: what `rungate serve --data` was told.
    #[arg(long, env = DATA_VARIABLE, value_name = "DIR", default_value = "tmp")]
    pub(super) data: PathBuf,
    /// Write to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Write these runs only.
    #[arg(value_name = "RUN_ID", value_parser = parse_run_id)]
    pub(super) run_ids: Vec<RunId>,
}

/// See [`ClientCommand::Workers`].
#[derive(Debug, Args)]
pub struct WorkersArgs {
    /// List the workers of this session too; without it, of the one of the last run on this gateway.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// Print one worker per line as JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// See [`ClientCommand::Cancel`].
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Stop this run; `rungate runs` lists them.
    #[arg(value_name = "RUN_ID")]
    pub(super) run_id: String,
    /// Tell those who watch the run why.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

fn parse_run_id(text: &str) -> Result<RunId, String> {
    RunId::parse(text).map_err(|_| "write an id as `rungate runs` shows it".to_owned())
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = SpanParser::new().parse_unsigned_duration(text.trim());
    parsed.map_err(|_| "write a number and a unit, such as 30s or 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        command: ClientCommand,
    }

    #[test]
    fn a_parameter_is_cut_at_the_first_equals_sign() {
        assert_eq!(parse_param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_param(" a ="), Ok(("a".to_owned(), String::new())));
        for wrong in ["", "a", "=b", " =b"] {
            assert!(parse_param(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn wrong_usage_is_told() {
        for wrong in [
            vec!["run"],
            vec!["run", "x", "--param", "n"],
            vec!["run", "x", "--session", "s", "--new-session"],
            vec!["run", "x", "--give-up-after", "soon"],
            vec!["watch"],
            vec!["watch", "run_1", "--gateway", "ftp://example"],
            vec!["runs", "--limit", "0"],
            vec!["runs", "export", "run_x"],
            vec!["runs", "--json", "export"],
        ] {
            let error = Typed::try_parse_from(std::iter::once("rungate").chain(wrong.iter().copied()));
            assert_eq!(error.map_err(|it| it.exit_code()).unwrap_err(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn every_argument_is_explained_by_a_sentence() {
        let typed = Typed::command();
        let nested = typed.get_subcommands().flat_map(|it| it.get_subcommands());
        for command in typed.get_subcommands().chain(nested) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with(char::is_uppercase), "{} {argument}: {help:?}", command.get_name());
            }
        }
    }
}
