//! The console, driven in headless Chromium. What is done and seen in the page stands in `tests/clients/console`.

use std::{path::Path, process::Stdio, time::Duration};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    sync::OnceCell,
};

use crate::support::{
    gateway::{Gateway, Setup, WORKERS},
    needs, patient_trial,
    tools::{BROWSERS, Tool, clients, output},
};

const TOOLS: [Tool; 3] = [Tool::Program("node"), Tool::NpmPackages, Tool::Chromium];

/// A browser takes its time to start, more so beside others.
const PATIENCE: Duration = Duration::from_secs(180);

/// Workers that only the console's tests need.
const MORE_WORKERS: &str = include_str!("console.toml");

/// The packages of the repository that scenarios open, and what each depends on.
const PACKAGES: [(&str, &[&str]); 4] = [
    ("harbour-core", &[]),
    ("harbour-store", &["core"]),
    ("harbour-ships", &["core", "store"]),
    ("harbour-server", &["core", "ships", "store"]),
];

/// The gateway of all scenarios that leave it as it is.
static SHARED: OnceCell<Gateway> = OnceCell::const_new();

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        on_shared("a_newcomer_sees_what_can_be_done", "first_open"),
        on_shared("the_demo_run_is_watched_to_its_end", "demo"),
        with_repository("a_repository_is_talked_about_and_its_plan_run", "repository"),
        on_shared("a_question_is_answered", "answering"),
        on_shared("a_tool_and_approvals_are_answered", "requests"),
        on_shared("a_run_is_cancelled", "cancelling"),
        on_shared("a_failed_run_says_why_and_starts_again", "failing"),
        on_shared("a_busy_session_offers_what_to_do", "busy"),
        on_shared("what_workers_write_is_text", "hostile"),
        on_shared("a_reload_continues_the_run", "reload"),
        on_shared("two_tabs_show_the_same", "two_tabs"),
        on_shared("a_cut_loses_and_doubles_nothing", "cut"),
        scenario("a_gateway_that_dies_and_comes_back", || killed("killed", "fsync")),
        scenario("a_run_that_begins_again", || killed("begins_again", "fsync")),
        scenario("a_gateway_that_comes_back_without_the_run", || killed("forgotten", "memory")),
        on_shared("recent_runs_lead_back", "recent_runs"),
        on_shared("the_keyboard_is_enough", "keyboard"),
        with_repository("a_telephone_needs_no_sideways_scroll", "phone"),
        with_repository("words_can_be_read_in_light_and_dark", "contrast"),
    ]
}

/// Ends the gateway of this module; statics are not dropped.
pub(crate) fn end_shared(tell: bool) {
    if let Some(gateway) = SHARED.get() {
        gateway.kill();
        if tell {
            eprintln!("the console's gateway wrote:\n{}", gateway.stderr());
        }
    }
}

fn scenario<F>(name: &str, scenario: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    needs(&TOOLS, patient_trial(format!("console::{name}"), PATIENCE, scenario))
}

/// A scenario of the script that needs a gateway and nothing else.
fn on_shared(name: &str, script: &'static str) -> Trial {
    scenario(name, move || async move { drive(script, shared().await, &Value::Null).await })
}

/// A scenario that opens a repository.
fn with_repository(name: &str, script: &'static str) -> Trial {
    let steps = move || async move {
        let repository = repository().await;
        let packages = PACKAGES.map(|(name, _)| name);
        let options = json!({"repository": repository.path(), "packages": packages});
        drive(script, shared().await, &options).await;
    };
    needs(&[Tool::Program("git")], scenario(name, steps))
}

async fn shared() -> &'static Gateway {
    SHARED.get_or_init(|| setup().start()).await
}

fn setup() -> Setup {
    Setup::default().config(WORKERS).config(MORE_WORKERS).environment("RUNGATE_RUN_RETENTION", "10m")
}

/// Runs a scenario that asks for nothing.
async fn drive(script: &str, gateway: &Gateway, options: &Value) {
    let _turn = BROWSERS.acquire().await.unwrap();
    output(&mut command(script, gateway, options)).await;
}

fn command(script: &str, gateway: &Gateway, options: &Value) -> Command {
    let mut command = Command::new(Tool::Program("node").path());
    command.arg(clients().join("console.mjs")).arg(script).arg(gateway.url("")).arg(options.to_string());
    command.env("CHROMIUM", Tool::Chromium.path());
    command
}

/// The gateway is killed under a run and started again on the same port with the same data.
async fn killed(script: &str, log: &str) {
    let data = tempfile::tempdir().unwrap();
    let start = || setup().data(data.path()).environment("RUNGATE_RUN_LOG", log);
    let mut gateway = start().start().await;
    let address = gateway.address();
    let _turn = BROWSERS.acquire().await.unwrap();
    let mut command = command(script, &gateway, &Value::Null);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut script = command.spawn().unwrap();
    let mut replies = script.stdin.take().unwrap();
    let mut asked = BufReader::new(script.stdout.take().unwrap()).lines();
    while let Some(what) = asked.next_line().await.unwrap() {
        match what.as_str() {
            "kill" => gateway.kill(),
            "start" => gateway = start().listen(address).start().await,
            other => panic!("the script asks for `{other}`"),
        }
        replies.write_all(b"done\n").await.unwrap();
    }
    let mut told = String::new();
    script.stderr.take().unwrap().read_to_string(&mut told).await.unwrap();
    assert!(script.wait().await.unwrap().success(), "{told}");
}

/// A git repository with a Cargo workspace and a README.
async fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &Path, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(Path::new("README.md"), "# Harbour\n\nHarbour keeps ships and their cargo in order.\n");
    write(Path::new("Cargo.toml"), "[workspace]\nmembers = [\"crates/*\"]\nresolver = \"2\"\n");
    for (name, needs) in PACKAGES {
        let crates = Path::new("crates").join(name);
        let head = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\n"
        );
        let needs = needs.iter().map(|it| format!("harbour-{it} = {{ path = \"../harbour-{it}\" }}\n"));
        write(&crates.join("Cargo.toml"), &needs.fold(head, |text, line| text + &line));
        write(&crates.join("src/lib.rs"), "pub fn hello() {}\n");
    }
    for arguments in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "--message", "start"]] {
        let mut git = Command::new(Tool::Program("git").path());
        git.args(["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgsign=false"]);
        output(git.args(arguments).current_dir(folder.path())).await;
    }
    folder
}
