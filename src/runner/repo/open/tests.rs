use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::future::join_all;

use super::*;
use crate::{
    model::RunError,
    runner::repo::git::testing::{Daemon, TestRepo},
};

fn repositories(rules: &[&str], clones: &Path, limits: RepoLimits) -> Repositories {
    let rules = rules.iter().map(|it| it.parse().unwrap()).collect();
    Repositories::new(RepoPolicy::new(None, Some(rules), true), clones.to_owned(), limits)
}

fn session(name: &str) -> SessionId {
    SessionId::parse(name).unwrap()
}

async fn open(repositories: &Repositories, address: &str, of: &str) -> Result<Repository, RepoError> {
    repositories.open(address, &session(of), &CancellationToken::new(), |_| {}).await
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_local_repository_is_read_where_it_is() {
    let repo = TestRepo::new(&[("a.txt", "text")]);
    let clones = tempfile::tempdir().unwrap();
    let repositories = repositories(&[], clones.path(), RepoLimits::default());
    let path = repo.path().canonicalize().unwrap();
    for address in [path.display().to_string(), format!("file://{}", path.display())] {
        let opened = open(&repositories, &address, "s").await.unwrap();
        assert_eq!(
            (opened.root.as_path(), opened.address_shown),
            (path.as_path(), path.display().to_string())
        );
        assert_eq!(opened.dir.read_text("a.txt", 10).unwrap().text, "text");
    }
    let opened = open(&repositories, path.to_str().unwrap(), "s").await.unwrap();
    let before = opened.fingerprint().await;
    assert!(before.is_some());
    repo.write(&[("a.txt", "other")]);
    assert_ne!(opened.fingerprint().await, before);
    assert!(names(clones.path()).is_empty());
}

#[tokio::test]
async fn a_repository_without_working_files_is_cloned() {
    let repo = TestRepo::new(&[("a.txt", "text")]);
    let bare = repo.parent().join("bare ä.git");
    repo.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let clones = tempfile::tempdir().unwrap();
    let opened =
        open(&repositories(&[], clones.path(), RepoLimits::default()), bare.to_str().unwrap(), "s").await;
    let opened = opened.unwrap();
    assert!(opened.root.starts_with(clones.path()));
    assert_eq!(opened.dir.read_text("a.txt", 10).unwrap().text, "text");
}

#[tokio::test]
async fn concurrent_opens_share_one_clone_that_the_session_keeps() {
    let repo = TestRepo::new(&[("a.txt", "text")]);
    let daemon = Daemon::serve(repo.parent());
    let clones = tempfile::tempdir().unwrap();
    let rule = format!("git://127.0.0.1:{}", daemon.port());
    let first = repositories(&[&rule], clones.path(), RepoLimits::default());
    let (address, fetched) = (daemon.url("repo"), AtomicUsize::new(0));
    let progress = |step: CloneProgress| {
        if step == (CloneProgress { phase: ClonePhase::Receiving, percent: 100 }) {
            fetched.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (id, cancel) = (session("s"), CancellationToken::new());
    let opened = join_all((0..8).map(|_| first.open(&address, &id, &cancel, progress))).await;
    let roots: Vec<_> = opened.into_iter().map(|it| it.unwrap().root).collect();
    assert!(roots.iter().all(|it| *it == roots[0]));
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    assert_eq!(names(&clones.path().join("s")).len(), 1);
    let other = open(&first, &address, "other").await.unwrap();
    assert_ne!(other.root, roots[0], "another session has its own");
    drop(daemon);
    let later = repositories(&[&rule], clones.path(), RepoLimits::default());
    assert_eq!(open(&later, &address, "s").await.unwrap().root, roots[0], "also after a restart");
    later.forget(&id).await.unwrap();
    assert_eq!(names(clones.path()), ["other"]);
    assert_eq!(open(&later, &address, "s").await.unwrap_err().code(), "repo_unreachable");
    later.forget(&session("nobody")).await.unwrap();
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_waited_and_tried_again_later() {
    let repo = TestRepo::new(&[("a.txt", "text")]);
    let daemon = Daemon::serve(repo.parent());
    let clones = tempfile::tempdir().unwrap();
    let repositories =
        repositories(&[&format!("git://127.0.0.1:{}", daemon.port())], clones.path(), RepoLimits::default());
    let address = daemon.url("later");
    let failed = join_all((0..3).map(|_| open(&repositories, &address, "s"))).await;
    assert!(failed.iter().all(|it| matches!(it, Err(RepoError::Clone(CloneError::NotFound)))), "{failed:?}");
    assert!(names(&clones.path().join("s")).is_empty());
    fs::rename(repo.path(), repo.parent().join("later")).unwrap();
    open(&repositories, &address, "s").await.unwrap();
}

/// A server that takes connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("git://127.0.0.1:{}", listener.local_addr().unwrap().port());
    (listener, address)
}

/// Waits until a git has connected.
async fn connected(listener: TcpListener) -> std::net::TcpStream {
    spawn_blocking(move || listener.accept().unwrap().0).await.unwrap()
}

#[tokio::test]
async fn a_cancelled_clone_leaves_nothing_and_the_next_one_takes_over() {
    let (listener, server) = silent();
    let clones = tempfile::tempdir().unwrap();
    let repositories = repositories(&[&server], clones.path(), RepoLimits::default());
    let (id, address) = (session("s"), format!("{server}/a"));
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let (again, url) = (listener.try_clone().unwrap(), address.clone());
    let (a, b, ()) = tokio::join!(
        repositories.open(&url, &id, &first, |_| {}),
        repositories.open(&address, &id, &second, |_| {}),
        async {
            let _one = connected(listener).await;
            first.cancel();
            let _two = connected(again).await;
            assert_eq!(names(&clones.path().join("s")).len(), 1);
            second.cancel();
        }
    );
    assert_eq!((a.unwrap_err(), b.unwrap_err()), (RepoError::Cancelled, RepoError::Cancelled));
    assert!(names(&clones.path().join("s")).is_empty());
}

#[tokio::test]
async fn forgetting_a_session_ends_its_clones() {
    let (listener, server) = silent();
    let clones = tempfile::tempdir().unwrap();
    let repositories = repositories(&[&server], clones.path(), RepoLimits::default());
    let (address, id) = (format!("{server}/a"), session("s"));
    let (opened, forgotten) = tokio::join!(open(&repositories, &address, "s"), async {
        let _stream = connected(listener).await;
        repositories.forget(&id).await
    });
    assert_eq!(opened.unwrap_err(), RepoError::Cancelled);
    forgotten.unwrap();
    assert!(names(clones.path()).is_empty());
}

#[tokio::test]
async fn a_session_keeps_a_bounded_number_of_clones() {
    let repo = TestRepo::new(&[("a.txt", "text")]);
    repo.git(&["clone", "--quiet", "--bare", ".", "../one.git"]);
    repo.git(&["clone", "--quiet", "--bare", ".", "../two.git"]);
    let clones = tempfile::tempdir().unwrap();
    let limits = RepoLimits { clones_per_session: 1, ..RepoLimits::default() };
    let repositories = repositories(&[], clones.path(), limits);
    let address = |name: &str| repo.parent().join(name).display().to_string();
    open(&repositories, &address("one.git"), "s").await.unwrap();
    assert_eq!(open(&repositories, &address("two.git"), "s").await.unwrap_err(), RepoError::TooMany);
    open(&repositories, &address("one.git"), "s").await.unwrap();
    open(&repositories, &address("two.git"), "other").await.unwrap();
}

#[tokio::test]
async fn what_a_killed_gateway_left_is_removed() {
    let clones = tempfile::tempdir().unwrap();
    for folder in ["s/.clone-1/.git", "s/whole", ".forgotten-1/x"] {
        fs::create_dir_all(clones.path().join(folder)).unwrap();
    }
    let repositories = repositories(&[], clones.path(), RepoLimits::default());
    repositories.remove_leftovers().unwrap();
    assert_eq!(
        (names(clones.path()), names(&clones.path().join("s"))),
        (vec!["s".into()], vec!["whole".into()])
    );
}

#[tokio::test]
async fn errors_carry_codes_and_no_secrets() {
    let clones = tempfile::tempdir().unwrap();
    let repositories = repositories(&["https://127.0.0.1:1"], clones.path(), RepoLimits::default());
    for (address, code) in [
        ("", "repo_malformed"),
        ("https://ann:s3cret@other.example/a", "repo_not_allowed"),
        ("https://ann:s3cret@127.0.0.1:1/a", "repo_unreachable"),
        ("/nowhere/at/all", "repo_not_found"),
    ] {
        let error = RunError::from(open(&repositories, address, "s").await.unwrap_err());
        assert_eq!(error.code, code, "{address}");
        assert!(!error.message.contains("s3cret"));
    }
}

#[test]
fn a_worker_on_any_thread_can_open() {
    fn sendable<T: Send>(it: T) -> T {
        it
    }
    let clones = tempfile::tempdir().unwrap();
    let repositories = repositories(&[], clones.path(), RepoLimits::default());
    let (id, cancel) = (session("s"), CancellationToken::new());
    drop(sendable(repositories.open("/", &id, &cancel, |_| {})));
    drop(sendable(repositories.forget(&id)));
}
