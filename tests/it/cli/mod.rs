//! The command line for people: the real binary against a real gateway, through a connection that can be cut.

mod person;

use std::{
    path::Path,
    process::{Output, Stdio},
};

use futures::{FutureExt as _, future::BoxFuture};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{
    client::{Client, Protocol},
    gateway::{BINARY, Gateway, Setup},
    skip, story, trial,
};
use person::{Cable, Person};

/// Workers that do what the commands are to show.
const WORKERS: &str = r#"
[workers.good]
command = ["sh", "-c", '''
read -r task
echo '{"type":"log","message":"a line"}'
echo '{"type":"delta","text":"one "}'
echo '{"type":"delta","text":"two"}'
echo '{"type":"result","output":{"n":1}}'
''']

[workers.bad]
command = ["sh", "-c", "read -r task; echo '{\"type\":\"error\",\"message\":\"no luck today\"}'"]

[workers.linger]
command = ["sh", "-c", "read -r task; echo '{\"type\":\"log\",\"message\":\"lingering\"}'; exec sleep 600"]

# Goes on when a file named after it is there; its lines come before and after.
[workers.gate]
command = ["sh", "-c", '''
read -r task
for n in 1 2 3; do echo "{\"type\":\"log\",\"message\":\"before $n\"}"; done
while [ ! -e open ]; do sleep 0.05; done
for n in 1 2 3; do echo "{\"type\":\"log\",\"message\":\"after $n\"}"; done
''']

[workers.ask]
command = ["sh", "-c", '''
read -r task
echo '{"type":"input","request_id":"q","prompt":"How many?"}'
read -r answer
echo "{\"type\":\"result\",\"output\":$answer}"
''']

[workers.approve]
command = ["sh", "-c", '''
read -r task
echo '{"type":"approval","approval_id":"a","tool_name":"rm","summary":"remove it"}'
read -r answer
echo "{\"type\":\"result\",\"output\":$answer}"
''']

[workers.approve_soon]
approval_timeout = "300ms"
command = ["sh", "-c", '''
read -r task
echo '{"type":"approval","approval_id":"a","tool_name":"rm","summary":"remove it"}'
read -r answer
echo "{\"type\":\"result\",\"output\":$answer}"
''']
"#;

type Scenario = fn() -> BoxFuture<'static, ()>;

/// A line of the table.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), (|| $name().boxed()) as Scenario)),*] };
}

/// The whole table.
pub(crate) fn trials() -> Vec<Trial> {
    let plain = scenarios![
        exit_codes_follow_the_end,
        json_lines_are_the_events,
        a_pipe_reads_plain_lines,
        a_cut_is_resumed_without_loss,
        a_gateway_that_stays_away_is_given_up,
        a_gateway_that_forgot_the_run_is_told_of,
        ctrl_c_cancels_the_run,
        a_second_ctrl_c_leaves_at_once,
        ctrl_c_leaves_a_watch_alone,
        the_session_is_remembered,
        a_busy_session_names_its_run,
        questions_are_answered_by_a_pipe,
        the_conversation_goes_on_with_the_answer,
        a_watch_begins_where_it_is_told,
        a_reader_that_leaves_ends_a_watch,
        lists_are_tables_or_json,
    ];
    let mut trials: Vec<_> =
        plain.into_iter().map(|(name, scenario)| trial(format!("cli::{name}"), scenario)).collect();
    let terminal = trial("cli::a_terminal_gets_a_bar_and_colours", a_terminal_gets_a_bar_and_colours);
    let decided = trial("cli::approvals_are_decided_at_a_terminal", approvals_are_decided_at_a_terminal);
    let has_script = std::process::Command::new("script").arg("--version").output().is_ok();
    let needs_script = |it| if has_script { it } else { skip(it, "script of util-linux") };
    trials.extend([terminal, decided].map(needs_script));
    trials
}

async fn exit_codes_follow_the_end() {
    let (_gateway, person) = start().await;
    for (arguments, code, told) in [
        (vec!["run", "good"], 0, ""),
        (vec!["run", "bad"], 1, ""),
        (vec!["run", "unknown"], 2, "unknown worker unknown (WORKER_UNKNOWN)"),
        (vec!["run", "good", "--param", "n"], 2, "KEY=VALUE"),
        (vec!["run"], 2, "PIPELINE"),
        (vec!["watch", "run_x"], 1, "run run_x not found (RUN_NOT_FOUND)"),
        (vec!["run", "good", "--session", "nobody"], 1, "(SESSION_NOT_FOUND)"),
        (
            vec!["run", "good", "--gateway", "127.0.0.1:1"],
            1,
            "cannot reach the gateway at http://127.0.0.1:1",
        ),
    ] {
        let output = person.output(&arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(told), "{arguments:?}: {output:?}");
    }
}

async fn json_lines_are_the_events() {
    let (gateway, person) = start().await;
    let output = person.output(&["run", "good", "--json"]).await;
    let events = json_lines(&output);
    let run = story::text(&events[0]["runId"]);
    let stream = Client::new(Protocol::Sse, gateway.address()).watch(run).all().await;
    assert_eq!(events, stream, "the same as the gateway's event stream");
}

async fn a_pipe_reads_plain_lines() {
    let (_gateway, person) = start().await;
    let output = person.output(&["run", "good"]).await;
    let shown = text(&output.stdout);
    assert!(shown.contains("] a line\none two\n"), "{shown}");
    assert!(shown.contains(r#"{"n":1}"#), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\r']), "{shown:?}");
    let bad = text(&person.output(&["run", "bad"]).await.stdout);
    assert!(bad.contains("no luck today"), "{bad}");
}

async fn a_cut_is_resumed_without_loss() {
    let (gateway, mut person) = start().await;
    let cable = Cable::to(gateway.address()).await;
    person.gateway = cable.address.to_string();
    let mut running = person.spawn(&["run", "gate", "--json"]);
    let mut events = running.lines_until("before 3").await;
    cable.cut();
    running.error_until("lost the gateway").await;
    open_gate(&gateway);
    cable.heal(gateway.address());
    running.error_until("resumed").await;
    events.extend(running.lines_to_end().await);
    assert_eq!(running.exit().await, 0);
    let events: Vec<Value> = events.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    story::check_log(story::text(&events[0]["runId"]), &events);
}

async fn a_gateway_that_stays_away_is_given_up() {
    let (gateway, mut person) = start().await;
    let cable = Cable::to(gateway.address()).await;
    person.gateway = cable.address.to_string();
    let mut running = person.spawn(&["run", "linger", "--give-up-after", "300ms"]);
    running.lines_until("lingering").await;
    cable.cut();
    let told = running.error_until("rungate watch run_").await;
    assert!(told.iter().any(|it| it.contains("gave up after 0.3s")), "{told:?}");
    assert!(told.iter().any(|it| it.contains("--after ")), "{told:?}");
    assert_eq!(running.exit().await, 1);
}

async fn a_gateway_that_forgot_the_run_is_told_of() {
    let (gateway, mut person) = start().await;
    let fresh = Setup::default().start().await;
    let cable = Cable::to(gateway.address()).await;
    person.gateway = cable.address.to_string();
    let mut running = person.spawn(&["run", "linger"]);
    running.lines_until("lingering").await;
    cable.cut();
    running.error_until("lost the gateway").await;
    cable.heal(fresh.address());
    let told = running.error_until("is back but does not have run").await;
    assert!(told.last().unwrap().contains("RUN_NOT_FOUND"), "{told:?}");
    assert_eq!(running.exit().await, 1);
}

async fn ctrl_c_cancels_the_run() {
    let (_gateway, person) = start().await;
    let mut running = person.spawn(&["run", "linger"]);
    running.lines_until("lingering").await;
    running.interrupt();
    running.error_until("press Ctrl-C again").await;
    let rest = running.lines_to_end().await;
    assert!(rest.last().unwrap().contains("cancelled"), "{rest:?}");
    assert_eq!(running.exit().await, 130);
}

async fn a_second_ctrl_c_leaves_at_once() {
    let (gateway, mut person) = start().await;
    let cable = Cable::to(gateway.address()).await;
    person.gateway = cable.address.to_string();
    let mut running = person.spawn(&["run", "linger"]);
    running.lines_until("lingering").await;
    // Nothing gets through any more, so the run cannot be seen to end.
    cable.freeze();
    running.interrupt();
    running.error_until("press Ctrl-C again").await;
    running.interrupt();
    running.error_until("left; the run").await;
    assert_eq!(running.exit().await, 130);
}

async fn ctrl_c_leaves_a_watch_alone() {
    let (gateway, person) = start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let run = story::run(client, "linger").await;
    let mut running = person.spawn(&["watch", &run]);
    running.lines_until("lingering").await;
    running.interrupt();
    running.error_until("the run goes on").await;
    assert_eq!(running.exit().await, 130);
    let state = client.call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!(state["run"]["state"], "RUN_STATE_RUNNING");

    let watching = person.spawn(&["watch", &run]);
    let output = person.output(&["cancel", &run, "--reason", "enough"]).await;
    assert!(text(&output.stdout).starts_with(&run), "{output:?}");
    let mut watching = watching;
    let rest = watching.lines_to_end().await;
    assert!(rest.last().unwrap().contains("enough"), "{rest:?}");
    assert_eq!(watching.exit().await, 130);
}

async fn the_session_is_remembered() {
    let (_gateway, person) = start().await;
    let detached = async |arguments: &[&str]| {
        let output = person.output(&[&["run", "good", "--detach", "--json"], arguments].concat()).await;
        let started = json_lines(&output).remove(0);
        // The next run needs the session.
        person.output(&["watch", story::text(&started["runId"])]).await;
        story::text(&started["sessionId"]).to_owned()
    };
    let first = detached(&[]).await;
    assert_eq!(detached(&[]).await, first);
    let second = detached(&["--new-session"]).await;
    assert_ne!(second, first);
    assert_eq!(detached(&["--session", &first]).await, first);
    assert_eq!(detached(&[]).await, second, "a session that was named is not remembered");
}

async fn a_busy_session_names_its_run() {
    let (_gateway, person) = start().await;
    let output = person.output(&["run", "linger", "--detach"]).await;
    let run = text(&output.stdout).trim().to_owned();
    let output = person.output(&["run", "good"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains(&format!("rungate watch {run} --gateway")), "{told}");
    assert!(told.contains(&format!("rungate cancel {run} --gateway")), "{told}");
    assert_eq!(person.output(&["run", "good", "--new-session"]).await.status.code(), Some(0));
}

async fn questions_are_answered_by_a_pipe() {
    let (_gateway, person) = start().await;
    let output = person.answering(&["run", "ask"], "\nseven\n").await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("? How many?"), "{output:?}");
    assert!(text(&output.stdout).contains("seven"), "{output:?}");
    let output = person.answering(&["run", "ask"], "").await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("waits for an answer"), "{output:?}");
}

async fn the_conversation_goes_on_with_the_answer() {
    let (_gateway, person) = start().await;
    let repository = tempfile::tempdir().unwrap();
    std::fs::write(repository.path().join("README.md"), "# thing\n\nCounts things.\n").unwrap();
    let repo = repository.path().to_str().unwrap();
    let run = ["run", "plan_pipeline", "--json", "--repo", repo];
    let asked = json_lines(&person.answering(&run, "").await);
    assert_eq!(asked.last().unwrap()["message"], "INPUT_REQUIRED");

    let events = json_lines(&person.answering(&run, "count the things\n").await);
    let runs: Vec<_> = events.iter().map(|it| story::text(&it["runId"])).collect();
    assert_ne!(runs.first(), runs.last(), "the answer is handled by another run");
    assert_eq!(events.last().unwrap()["message"], "COMPLETE");

    let said = [&run[..], &["--input", "count the things"]].concat();
    let events = json_lines(&person.output(&said).await);
    assert_eq!(events.last().unwrap()["message"], "COMPLETE");
    assert_eq!(events[0]["runId"], events.last().unwrap()["runId"], "nothing had to be asked");
}

async fn a_watch_begins_where_it_is_told() {
    let (gateway, person) = start().await;
    let (run, log) = story::finished(Client::new(Protocol::Grpc, gateway.address()), "good").await;
    let after = |place: usize| story::cursor(&log[place]);
    let output = person.output(&["watch", &run, "--json", "--after", after(1)]).await;
    assert_eq!(json_lines(&output), log[2..]);
    let output = person.output(&["watch", &run, "--json", "--after", after(log.len() - 1)]).await;
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 0),
        "the end is known without an event"
    );
    let output = person.output(&["watch", &run, "--after", "nowhere"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

async fn a_reader_that_leaves_ends_a_watch() {
    let (_gateway, person) = start().await;
    let mut running = person.spawn(&["run", "gate"]);
    running.lines_until("before 1").await;
    drop(running.out);
    open_gate(&_gateway);
    assert_eq!(running.child.wait().await.unwrap().code(), Some(141));
}

async fn lists_are_tables_or_json() {
    let (_gateway, person) = start().await;
    let output = person.output(&["runs"]).await;
    assert!(text(&output.stderr).contains("no session is remembered"), "{output:?}");
    for pipeline in ["good", "bad"] {
        person.output(&["run", pipeline]).await;
    }
    let table = text(&person.output(&["runs"]).await.stdout);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("RUN ") && lines[1].contains("no luck today"), "{table}");
    let listed = json_lines(&person.output(&["runs", "--json", "--limit", "3"]).await);
    let states: Vec<_> = listed.iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["RUN_STATE_FAILED", "RUN_STATE_SUCCEEDED", "RUN_STATE_SUCCEEDED"]);
    let workers = json_lines(&person.output(&["workers", "--json"]).await);
    assert!(workers.iter().any(|it| it["key"] == "ask" && it["backend"] == "command"), "{workers:?}");
    let table = text(&person.output(&["workers"]).await.stdout);
    assert!(table.contains("test_pipeline"), "{table}");
}

async fn a_terminal_gets_a_bar_and_colours() {
    let (_gateway, person) = start().await;
    for (no_color, colours) in [("", true), ("1", false)] {
        let mut script = Command::new("script");
        script.args([
            "--quiet",
            "--return",
            "--command",
            &format!("{BINARY} run test_pipeline"),
            "/dev/null",
        ]);
        person.at_home(&mut script);
        script.env("NO_COLOR", no_color).env("TERM", "xterm").stdin(Stdio::null());
        let output = script.output().await.unwrap();
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        assert!(shown.contains("━"), "a bar: {shown}");
        assert!(shown.contains("\u{1b}[J"), "that moves: {shown:?}");
        assert!(shown.contains("Step 5: Finalizing...\r\n"), "{shown:?}");
        assert_eq!(shown.contains("\u{1b}[32m"), colours, "{shown:?}");
    }
}

/// A word that is no decision is asked for again. What a pipe says is never one.
async fn approvals_are_decided_at_a_terminal() {
    let (_gateway, person) = start().await;
    for (word, decision) in [("y", "approve"), ("No", "reject")] {
        let mut script = Command::new("script");
        let run = format!("{BINARY} run approve");
        script.args(["--quiet", "--return", "--command", &run, "/dev/null"]);
        person.at_home(&mut script);
        script.env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).ends_with("y approves, n rejects") {
            shown.push(stdout.read_u8().await.unwrap());
        }
        stdin.write_all(format!("perhaps\n{word}\n").as_bytes()).await.unwrap();
        stdout.read_to_end(&mut shown).await.unwrap();
        let shown = text(&shown);
        assert!(child.wait().await.unwrap().success(), "{shown}");
        assert!(shown.contains("? waits for approval of rm: remove it"), "{shown}");
        assert_eq!(shown.matches("y approves, n rejects").count(), 2, "{shown}");
        let told = [format!("\"decision\":\"{decision}\""), "\"reason\":\"decided at the terminal\"".into()];
        assert!(told.iter().all(|it| shown.contains(it)), "{shown}");
    }
    let output = person.answering(&["run", "approve_soon"], "y\ny\n").await;
    assert!(text(&output.stdout).contains("\"code\":\"approval_timeout\""), "{output:?}");
}

async fn start() -> (Gateway, Person) {
    let gateway = Setup::default().config(WORKERS).start().await;
    let person = Person { home: tempfile::tempdir().unwrap(), gateway: gateway.address().to_string() };
    (gateway, person)
}

/// Lets the `gate` worker go on.
fn open_gate(gateway: &Gateway) {
    let data = gateway.data();
    std::fs::write(data.parent().map(Path::to_path_buf).unwrap().join("open"), "").unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    let lines = text(&output.stdout);
    let values: Vec<_> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!values.is_empty(), "{output:?}");
    values
}
