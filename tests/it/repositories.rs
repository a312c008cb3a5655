//! Repositories, read by the real gateway: on its own disk, from a real git server, and those it may not read.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    git::{Daemon, TestRepo},
    needs, patient_trial, story,
    tools::Tool,
    trial,
};

/// Files of the large repository.
const FILES: usize = 50_000;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let git = [Tool::Program("git")];
    let long = Duration::from_secs(300);
    vec![
        needs(&git, trial("repositories::one_is_cloned_from_a_git_server", cloned)),
        needs(&git, trial("repositories::a_server_that_no_rule_names_is_not_asked", other_server)),
        trial("repositories::one_on_the_disk_is_read", local),
        trial("repositories::one_that_is_not_there_is_told", missing),
        trial("repositories::roots_are_the_only_folders", roots),
        trial("repositories::the_disk_is_closed_when_others_can_connect", open_to_others),
        patient_trial("repositories::one_of_50000_files_is_scanned_in_bounded_memory", long, large),
    ]
}

/// Runs `repo_scan`; gives the log.
async fn scan(gateway: &Gateway, address: &str) -> Vec<Value> {
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let params = json!({"repo_url": address});
    let request = json!({"sessionId": session, "pipelineId": "repo_scan", "params": params});
    let started = client.call("StartRun", request).await.unwrap();
    story::log_of(client, story::text(&started["runId"])).await
}

fn output(log: &[Value]) -> &Value {
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_COMPLETE", "{end:#}");
    &end["result"]["output"]
}

fn error(log: &[Value]) -> &str {
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_ERROR", "{end:#}");
    story::text(&end["error"]["message"])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn cloned() {
    let repo = TestRepo::new(&[("README.md", "# far\n\nFar away.\n"), ("src/main.rs", "fn main() {}\n")]);
    let daemon = Daemon::serve(repo.parent());
    let hosts = format!("[repos]\nhosts = [\"git://127.0.0.1:{}\"]\n", daemon.port());
    let gateway = Setup::default().config(&hosts).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let made = client.call("InitRun", json!({"repoUrl": daemon.url("repo")})).await.unwrap();
    story::log_of(client, story::text(&made["bootstrapRunId"])).await;
    let said = json!({"sessionId": made["sessionId"], "input": "what is it?"});
    let answer = client.call("SubmitRunInput", said).await.unwrap();
    let log = story::log_of(client, story::text(&answer["runId"])).await;
    let message = story::text(&output(&log)["assistant_message"]);
    assert!(message.contains("2 files") && message.contains("Far away."), "{message}");
    let missing = scan(&gateway, &daemon.url("nothing")).await;
    assert_eq!(error(&missing), "the repository was not found");
}

async fn other_server() {
    let repo = TestRepo::new(&[("a", "a")]);
    let daemon = Daemon::serve(repo.parent());
    let gateway = Setup::default().start().await;
    assert_eq!(
        error(&scan(&gateway, &daemon.url("repo")).await),
        "this gateway reads remote repositories by https only"
    );
    let private = format!("https://127.0.0.1:{}/repo", daemon.port());
    assert_eq!(
        error(&scan(&gateway, &private).await),
        "this host is in a private network, which the gateway does not read from"
    );
}

async fn local() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.py"), "print(1)\n").unwrap();
    let gateway = Setup::default().start().await;
    for address in [text(folder.path()).to_owned(), format!("file://{}", folder.path().display())] {
        assert_eq!(output(&scan(&gateway, &address).await)["files"], 1.0, "{address}");
    }
}

async fn missing() {
    let gateway = Setup::default().start().await;
    assert_eq!(error(&scan(&gateway, "/no/such/folder").await), "there is no folder at this path");
    let none = scan(&gateway, "").await;
    assert_eq!(none.last().unwrap()["error"]["code"], "repo_missing");
    let nonsense = scan(&gateway, "no address").await;
    assert_eq!(nonsense.last().unwrap()["eventType"], "EVENT_TYPE_ERROR");
}

async fn roots() {
    let (open, closed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inside = open.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("a"), "a").unwrap();
    std::os::unix::fs::symlink(closed.path(), open.path().join("way_out")).unwrap();
    let config = format!("[repos]\nroots = [\"{}\"]\n", text(open.path()));
    let gateway = Setup::default().config(&config).start().await;
    assert_eq!(output(&scan(&gateway, text(&inside)).await)["files"], 1.0);
    let refused = "this path is not among those that the gateway may read";
    let closed = text(closed.path()).to_owned();
    for path in [closed, text(&open.path().join("way_out")).to_owned(), format!("{}/..", text(open.path()))] {
        assert_eq!(error(&scan(&gateway, &path).await), refused, "{path}");
    }
}

async fn open_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Setup::default().listen("0.0.0.0:0").start().await;
    assert_eq!(
        error(&scan(&gateway, text(folder.path())).await),
        "this gateway does not read repositories from its own disk"
    );
    let roots = format!("[repos]\nroots = [\"{}\"]\n", text(folder.path()));
    let gateway = Setup::default().listen("0.0.0.0:0").config(&roots).start().await;
    assert_eq!(
        output(&scan(&gateway, text(folder.path())).await)["files"],
        0.0,
        "unless the operator opens it"
    );
}

async fn large() {
    let folder = tempfile::tempdir().unwrap();
    for dir in 0..FILES / 100 {
        let dir = folder.path().join(format!("part{}/dir{dir}", dir % 20));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..100 {
            let text = format!("//! File {file}.\n\npub fn number() -> u32 {{\n    {file}\n}}\n");
            fs::write(dir.join(format!("file{file}.rs")), text).unwrap();
        }
    }
    let gateway = Setup::default().start().await;
    let begun = Instant::now();
    let log = scan(&gateway, text(folder.path())).await;
    let peak = gateway.peak_resident_bytes() >> 20;
    eprintln!("{FILES} files: {:?}, the gateway's peak memory is {peak} MiB", begun.elapsed());
    assert_eq!(output(&log)["files"], FILES as f64);
    let progress = log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_PROGRESS").count();
    assert!(progress >= 2, "{progress} times progress was told");
    assert!(peak < 300, "{peak} MiB");
}
