use std::{
    fs,
    io::Read,
    net::{IpAddr, Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Mutex,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    testing::{Daemon, TestRepo},
    *,
};
use crate::runner::repo::address::RepoAddress;

fn remote(url: &str) -> CloneSource {
    pinned(url, Vec::new())
}

fn pinned(url: &str, pinned: Vec<IpAddr>) -> CloneSource {
    match RepoAddress::parse(url) {
        Ok(RepoAddress::Remote(address)) => CloneSource::Remote { address, pinned },
        other => panic!("{other:?}"),
    }
}

async fn clone(source: &CloneSource, into: &Path) -> Result<(), CloneError> {
    Git::default().clone_into(source, into, CloneLimits::default(), &CancellationToken::new(), &|_| {}).await
}

fn program(folder: &Path, text: &str) -> Git {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Git::new(path)
}

fn lives(pid: i32) -> bool {
    // A zombie has ended; whoever inherits it reaps it later.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "))
}

/// Waits, bounded, for what the kernel or another process will do soon.
async fn eventually(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens");
}

#[tokio::test]
async fn the_newest_commit_is_fetched_with_progress() {
    let repo = TestRepo::new(&[("a.txt", "old")]);
    repo.commit(&[("a.txt", "new"), ("src/b.rs", "fn b() {}")]);
    let daemon = Daemon::serve(repo.parent());
    let into = tempfile::tempdir().unwrap();
    let into = into.path().join("clone");
    let steps = Mutex::new(Vec::new());
    let progress = |step| steps.lock().unwrap().push(step);
    let source = remote(&daemon.url("repo"));
    Git::default()
        .clone_into(&source, &into, CloneLimits::default(), &CancellationToken::new(), &progress)
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(into.join("a.txt")).unwrap(), "new");
    assert!(into.join("src/b.rs").is_file());
    assert!(into.join(".git/shallow").is_file(), "no history");
    assert!(!into.join(".git/hooks").exists(), "no hooks of a template");
    let steps = steps.into_inner().unwrap();
    assert!(steps.contains(&CloneProgress { phase: ClonePhase::Receiving, percent: 100 }), "{steps:?}");
}

#[tokio::test]
async fn nothing_of_a_hostile_repository_is_run() {
    let victim = TestRepo::new(&[("inner.txt", "x")]);
    let repo = TestRepo::new(&[
        (".gitattributes", "* filter=evil\n*.bin filter=lfs diff=lfs merge=lfs -text\n"),
        ("a.bin", "version https://git-lfs.github.com/spec/v1\n"),
        (".githooks/post-checkout", "#!/bin/sh\ntouch /tmp/never\n"),
    ]);
    let path = victim.path();
    repo.git(&["submodule", "--quiet", "add", path.to_str().unwrap(), "sub"]);
    repo.commit(&[]);
    let daemon = Daemon::serve(repo.parent());
    let into = tempfile::tempdir().unwrap();
    let into = into.path().join("clone");
    clone(&remote(&daemon.url("repo")), &into).await.unwrap();
    assert!(!into.join("sub/inner.txt").exists(), "submodules stay empty");
    assert!(fs::read_to_string(into.join("a.bin")).unwrap().starts_with("version"));
}

#[tokio::test]
async fn nothing_of_the_gateways_environment_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let git = program(folder.path(), &format!("env > {0}; echo \"$@\" >> {0}; exit 1", seen.display()));
    let source = remote("https://ann:s3cret@host.example/a");
    let (limits, cancel) = (CloneLimits::default(), CancellationToken::new());
    let result = git.clone_into(&source, &folder.path().join("x"), limits, &cancel, &|_| {}).await;
    assert_eq!(result, Err(CloneError::Failed));
    let seen = fs::read_to_string(seen).unwrap();
    let (environment, arguments) = seen.split_at(seen.find("-c core").unwrap());
    assert!(!arguments.contains("s3cret") && !arguments.contains("ann"), "{arguments}");
    assert!(!environment.contains("CARGO"), "{environment}");
    assert!(environment.contains("GIT_ALLOW_PROTOCOL=https\n"));
    assert!(environment.contains("GIT_CONFIG_VALUE_0=Authorization: Basic YW5uOnMzY3JldA=="));
}

#[tokio::test]
async fn failures_are_told_apart_and_leave_nothing() {
    let repo = TestRepo::new(&[("a", "b")]);
    let daemon = Daemon::serve(repo.parent());
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("x");
    assert_eq!(clone(&remote(&daemon.url("other")), &into).await, Err(CloneError::NotFound));
    let port = daemon.port();
    drop(daemon);
    assert_eq!(
        clone(&remote(&format!("git://127.0.0.1:{port}/repo")), &into).await,
        Err(CloneError::Unreachable)
    );
    let missing = Git::new("/nowhere/git");
    let (limits, cancel) = (CloneLimits::default(), CancellationToken::new());
    let result = missing.clone_into(&remote("https://host/a"), &into, limits, &cancel, &|_| {}).await;
    assert_eq!(result, Err(CloneError::GitMissing));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_pinned_name_leads_to_the_pinned_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        first[0]
    });
    let folder = tempfile::tempdir().unwrap();
    let source = pinned(&format!("https://name.invalid:{port}/a"), vec![Ipv4Addr::LOCALHOST.into()]);
    let result = clone(&source, &folder.path().join("x")).await;
    assert!(result.is_err());
    assert_eq!(accepted.join().unwrap(), 0x16, "a TLS handshake arrived");
}

#[tokio::test]
async fn a_clone_that_grows_too_large_is_ended_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("x");
    let pid = folder.path().join("pid");
    let text = format!(
        "mkdir {0}; head -c 3000000 /dev/zero > {0}/pack; echo $$ > {1}; sleep 60",
        into.display(),
        pid.display()
    );
    let git = program(folder.path(), &text);
    let limits = CloneLimits { bytes: 1_000_000, ..CloneLimits::default() };
    let source = remote("git://127.0.0.1/a");
    let result = git.clone_into(&source, &into, limits, &CancellationToken::new(), &|_| {}).await;
    assert_eq!(result, Err(CloneError::TooLarge));
    assert!(!into.exists());
    // One that has ended before anybody looked is found as well.
    let repo = TestRepo::new(&[("a", &"0123456789".repeat(1000))]);
    let limits = CloneLimits { bytes: 5000, ..CloneLimits::default() };
    let result = Git::default()
        .clone_into(&CloneSource::Local(repo.path()), &into, limits, &CancellationToken::new(), &|_| {})
        .await;
    assert_eq!(result, Err(CloneError::TooLarge));
    assert!(!into.exists());
}

/// A git that ignores SIGTERM and has started another program, which does as well.
fn stubborn(folder: &Path, into: &Path) -> Git {
    let into = into.display();
    let pid = folder.join("pid").display().to_string();
    program(
        folder,
        &format!(
            "trap '' TERM\nmkdir {into}\n(while :; do sleep 1; done) &\necho \"$$ $!\" > {pid}.new\n\
             mv {pid}.new {pid}\necho 'Receiving objects: 1% (1/100)' >&2\nwhile :; do sleep 1; done"
        ),
    )
}

fn pids(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("pid")).unwrap();
    text.split_whitespace().map(|it| it.parse().unwrap()).collect()
}

#[tokio::test]
async fn cancelling_ends_git_and_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("x");
    let git = stubborn(folder.path(), &into);
    let cancel = CancellationToken::new();
    // The first progress is told once the pids are written.
    let progress = |_| cancel.cancel();
    let source = remote("git://127.0.0.1/a");
    let result = git.clone_into(&source, &into, CloneLimits::default(), &cancel, &progress).await;
    assert_eq!(result, Err(CloneError::Cancelled));
    assert!(!into.exists());
    let pids = pids(folder.path());
    assert_eq!(pids.len(), 2);
    eventually(|| !pids.iter().any(|it| lives(*it))).await;
}

#[tokio::test]
async fn a_clone_that_is_dropped_ends_too() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("x");
    let git = stubborn(folder.path(), &into);
    let begun = tokio::sync::Notify::new();
    let progress = |_| begun.notify_one();
    let (source, cancel) = (remote("git://127.0.0.1/a"), CancellationToken::new());
    tokio::select! {
        _ = git.clone_into(&source, &into, CloneLimits::default(), &cancel, &progress) => panic!("it never ends"),
        () = begun.notified() => {}
    }
    let pids = pids(folder.path());
    eventually(|| !pids.iter().any(|it| lives(*it)) && !into.exists()).await;
}

#[tokio::test]
async fn a_clone_that_takes_too_long_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("x");
    let git = program(folder.path(), "exec sleep 60");
    let limits = CloneLimits { timeout: Duration::from_millis(50), ..CloneLimits::default() };
    let source = remote("git://127.0.0.1/a");
    let result = git.clone_into(&source, &into, limits, &CancellationToken::new(), &|_| {}).await;
    assert_eq!(result, Err(CloneError::Timeout));
}

/// A web server that answers every request with `answer` (`PATH` in it stands for the path asked for) until the test
/// is over, and tells the paths.
fn web(answer: &'static str, requests: usize) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut byte) = (Vec::new(), [0; 1]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            seen.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        seen
    });
    (port, serving)
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (port, serving) = web(answer, 2);
    let folder = tempfile::tempdir().unwrap();
    let result = clone(&remote(&format!("http://127.0.0.1:{port}/a")), &folder.path().join("x")).await;
    assert_eq!(result, Err(CloneError::Redirected));
    let seen = serving.join().unwrap();
    assert!(seen[0].starts_with("GET /a/info") && seen[1].starts_with("GET /a.git/info"), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_asks_who_is_there_is_told_only_what_the_address_says() {
    let answer = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (port, serving) = web(answer, 1);
    let folder = tempfile::tempdir().unwrap();
    let result = clone(&remote(&format!("http://tok3n@127.0.0.1:{port}/a")), &folder.path().join("x")).await;
    assert_eq!(result, Err(CloneError::AuthenticationNeeded));
    assert!(serving.join().unwrap()[0].contains("Authorization: Basic dG9rM246\r\n"));
}
