//! The registry against real processes: a small server in shell, and programs that are none.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{McpError, McpOutput, McpRegistry, McpServerSettings};
use crate::{model::RunError, runner::llm::Secret};

const SERVER: &str = include_str!("tests_server.sh");

/// A registry and the file in which its small servers note their processes.
struct Setup {
    registry: McpRegistry,
    notes: PathBuf,
    _folder: TempDir,
}

impl Setup {
    /// One server `s` of the given manner.
    fn new(manner: &str) -> Self {
        Self::with(manner, Duration::from_secs(30), [])
    }

    fn with(
        manner: &str,
        timeout: Duration,
        others: impl IntoIterator<Item = (&'static str, McpServerSettings)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("notes");
        let command = ["sh", "-c", SERVER, "small", manner, notes.to_str().unwrap()];
        let small = program(&command, timeout);
        let others = others.into_iter().map(|(name, settings)| (name.to_owned(), settings));
        let servers = others.chain([("s".to_owned(), small)]).collect();
        Self { registry: McpRegistry::new(servers).unwrap(), notes, _folder: folder }
    }

    async fn call(&self, tool: &str) -> Result<McpOutput, McpError> {
        self.registry.call("s", tool, json!({"a": 1}), &CancellationToken::new()).await
    }

    /// The processes of a kind that the server noted.
    fn noted(&self, kind: &str) -> Vec<i32> {
        let notes = std::fs::read_to_string(&self.notes).unwrap_or_default();
        let ids = notes.lines().filter_map(|line| line.strip_prefix(kind)?.trim().parse().ok());
        ids.collect()
    }

    /// Waits until the slow tool is at work.
    async fn slow_at_work(&self) {
        eventually(|| !self.noted("child").is_empty()).await;
    }
}

fn program(command: &[&str], timeout: Duration) -> McpServerSettings {
    let command = command.iter().map(|&part| part.to_owned()).collect();
    let env = BTreeMap::from([("GIVEN".to_owned(), Secret::new("given"))]);
    McpServerSettings::Stdio { command, env, cwd: None, timeout }
}

/// Waits for what other processes bring about, which tell nobody.
async fn eventually(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came to be");
}

/// True while the process does anything. One that was killed and that nobody waits for does not.
fn runs(id: &i32) -> bool {
    let pid = rustix::process::Pid::from_raw(*id).unwrap();
    let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    rustix::process::test_kill_process(pid).is_ok() && !zombie
}

#[tokio::test]
async fn a_call_gives_text_and_data() {
    let setup = Setup::new("plain");
    let output = setup.call("echo").await.unwrap();
    assert_eq!((output.text.as_str(), output.is_error), ("one\ntwo", false));
    assert_eq!(output.structured, Some(json!({"a": 1})));
    assert_eq!(output.content[1], json!({"type": "text", "text": "two"}));
}

#[tokio::test]
async fn a_broken_server_is_listed_in_its_place() {
    let patience = Duration::from_secs(30);
    let missing = program(&["/no/such/program"], patience);
    let quits = program(&["sh", "-c", "exit 1"], patience);
    let setup = Setup::with("plain", patience, [("missing", missing), ("quits", quits)]);
    let listed = setup.registry.tools().await;
    let names: Vec<_> = listed.iter().map(|server| server.server.as_str()).collect();
    assert_eq!(names, ["missing", "quits", "s"]);
    assert!(matches!(listed[0].tools, Err(McpError::Unavailable { .. })), "{listed:?}");
    assert!(matches!(listed[1].tools, Err(McpError::Unavailable { .. })), "{listed:?}");
    // Both pages, without the tool whose name is too long, with the description cut.
    let tools = listed[2].tools.as_ref().unwrap();
    let sizes: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.description.len())).collect();
    assert_eq!(sizes, [("echo", 4096), ("slow", 0)]);
    assert_eq!((tools[0].server.as_str(), &tools[0].input_schema), ("s", &json!({"type": "object"})));
}

#[tokio::test]
async fn many_first_calls_start_one_process() {
    let setup = Setup::new("plain");
    let calls = (0..8).map(|_| setup.call("echo"));
    let outputs = futures::future::join_all(calls).await;
    assert!(outputs.iter().all(Result::is_ok), "{outputs:?}");
    assert_eq!(setup.noted("started").len(), 1);
}

#[tokio::test]
async fn tasks_share_a_registry() {
    let setup = Arc::new(Setup::new("plain"));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (one, other) = (setup.clone(), setup.clone());
        tasks.spawn(async move { one.call("echo").await.is_ok() });
        tasks.spawn(async move { other.registry.tools().await[0].tools.is_ok() });
    }
    assert_eq!(tasks.join_all().await, [true; 4]);
    setup.registry.close().await;
}

#[tokio::test]
async fn a_server_that_died_is_started_again() {
    let setup = Setup::new("plain");
    setup.call("echo").await.unwrap();
    let error = setup.call("die").await.unwrap_err();
    assert!(matches!(error, McpError::Unavailable { .. }), "{error:?}");
    assert!(RunError::from(error).retryable);
    assert_eq!(setup.call("echo").await.unwrap().text, "one\ntwo");
    let started = setup.noted("started");
    assert_eq!((started.len(), started.iter().filter(|id| runs(id)).count()), (2, 1));
}

#[tokio::test]
async fn a_server_that_died_unused_is_started_again() {
    let setup = Setup::new("plain");
    setup.call("echo").await.unwrap();
    let first = setup.noted("started")[0];
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually(|| !runs(&first)).await;
    // The death may be noticed only by the call that meets it.
    let first_try = setup.call("echo").await;
    assert!(matches!(first_try, Ok(_) | Err(McpError::Unavailable { .. })), "{first_try:?}");
    assert_eq!(setup.call("echo").await.unwrap().text, "one\ntwo");
    assert_eq!(setup.noted("started").len(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_run_rests() {
    let setup = Setup::new("short-lived");
    let first = setup.call("echo").await.unwrap_err();
    assert!(matches!(first, McpError::Unavailable { .. }), "{first:?}");
    let second = setup.call("echo").await.unwrap_err();
    assert!(matches!(second, McpError::Resting { .. }), "{second:?}");
    assert_eq!(setup.noted("started").len(), 1);
}

#[tokio::test]
async fn a_tool_that_takes_too_long_is_given_up() {
    let setup = Setup::with("plain", Duration::from_secs(2), []);
    let error = setup.call("slow").await.unwrap_err();
    assert!(matches!(error, McpError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once() {
    let setup = Setup::new("plain");
    let cancel = CancellationToken::new();
    let call = setup.registry.call("s", "slow", Value::Null, &cancel);
    let (result, ()) = tokio::join!(call, async {
        setup.slow_at_work().await;
        cancel.cancel();
    });
    assert!(matches!(result, Err(McpError::Cancelled)), "{result:?}");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_told_and_the_server_kept() {
    let setup = Setup::new("plain");
    let error = setup.call("large").await.unwrap_err();
    assert!(matches!(error, McpError::TooLarge { .. }), "{error:?}");
    assert!(setup.call("echo").await.is_ok());
    assert_eq!(setup.noted("started").len(), 1);
}

#[tokio::test]
async fn a_message_without_end_ends_the_connection() {
    let setup = Setup::new("plain");
    let error = setup.call("endless").await.unwrap_err();
    assert!(matches!(error, McpError::TooLarge { .. }), "{error:?}");
    assert_eq!(setup.call("echo").await.unwrap().text, "one\ntwo");
    assert_eq!(setup.noted("started").len(), 2);
}

#[tokio::test]
async fn failures_of_a_tool_and_refusals_of_a_server_are_told_apart() {
    let setup = Setup::new("plain");
    let output = setup.call("fail").await.unwrap();
    assert_eq!((output.is_error, output.text.as_str()), (true, "no such file"));
    let error = setup.call("unheard-of").await.unwrap_err();
    let refused = matches!(&error, McpError::Refused { code: -32602, said, .. } if said == "inner words");
    assert!(refused, "{error:?}");
    let error = RunError::from(error);
    assert_eq!((error.code.as_str(), error.retryable), ("mcp_refused", false));
    assert!(!error.message.contains("inner words"));
}

#[tokio::test]
async fn wrong_calls_start_nothing() {
    let setup = Setup::new("plain");
    let cancel = CancellationToken::new();
    let error = setup.registry.call("nobody", "echo", Value::Null, &cancel).await.unwrap_err();
    assert!(matches!(error, McpError::UnknownServer { .. }), "{error:?}");
    let error = setup.registry.call("s", "echo", json!([1]), &cancel).await.unwrap_err();
    assert!(matches!(error, McpError::BadArguments), "{error:?}");
    assert_eq!(setup.noted("started").len(), 0);
}

#[tokio::test]
async fn a_server_sees_little_of_the_environment() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let setup = Setup::new("plain");
    assert_eq!(setup.call("env").await.unwrap().text, "given nothing");
}

#[tokio::test]
async fn close_ends_servers_in_the_midst_of_work_and_for_good() {
    let setup = Setup::new("plain");
    let (result, ()) = tokio::join!(setup.call("slow"), async {
        setup.slow_at_work().await;
        setup.registry.close().await;
        assert!(!setup.noted("started").iter().any(runs));
    });
    assert!(matches!(result, Err(McpError::Closed)), "{result:?}");
    let grandchild = setup.noted("child")[0];
    eventually(|| !runs(&grandchild)).await;
    assert!(matches!(setup.call("echo").await, Err(McpError::Closed)));
    assert_eq!(setup.noted("started").len(), 1);
}

#[tokio::test]
async fn close_ends_a_server_that_does_not_listen() {
    let setup = Setup::new("stubborn");
    setup.call("echo").await.unwrap();
    setup.registry.close().await;
    assert!(!setup.noted("started").iter().any(runs));
}

#[tokio::test]
async fn a_registry_that_is_dropped_leaves_no_process() {
    let Setup { registry, notes, _folder } = Setup::new("stubborn");
    let registry = Arc::new(registry);
    registry.call("s", "echo", json!({}), &CancellationToken::new()).await.unwrap();
    drop(registry);
    let notes = std::fs::read_to_string(notes).unwrap();
    let id = notes.strip_prefix("started ").unwrap().trim().parse().unwrap();
    eventually(|| !runs(&id)).await;
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    let settings = program(&["sh"], Duration::from_secs(1));
    assert!(McpRegistry::new(BTreeMap::from([("a b".to_owned(), settings)])).is_err());
    assert!(McpRegistry::new(BTreeMap::new()).unwrap().is_empty());
}
