//! The repository that a run is about, opened with progress.

use super::progress::with_progress;
use crate::{
    model::RunError,
    runner::{
        RunRequest, Task,
        repo::{
            mention::{Mention, find_mention},
            open::Repository,
        },
    },
};

/// The parameter that names a repository.
const REPO_PARAM: &str = "repo_url";
/// The parameter that holds the person's words.
const INPUT_PARAM: &str = "user_input";

/// What the person said, trimmed; empty when nothing.
pub(super) fn user_input(request: &RunRequest) -> &str {
    request.params.get(INPUT_PARAM).map_or("", |it| it.trim())
}

/// The address of the repository that the run is about: named by a parameter, in the person's words, or known to the
/// session, in this order.
pub(super) fn repo_address(request: &RunRequest) -> Option<String> {
    let named = request.params.get(REPO_PARAM).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
    let mentioned = || mention(request).map(|it| it.address);
    let known = || Some(request.session.repo_url.clone()).filter(|it| !it.is_empty());
    named.or_else(mentioned).or_else(known)
}

/// The repository that the person speaks of, and their other words.
pub(super) fn mention(request: &RunRequest) -> Option<Mention> {
    find_mention(user_input(request))
}

/// Opens the run's repository, fetching it first where it is elsewhere.
pub(super) async fn open(task: &Task) -> Result<Repository, RunError> {
    let Some(address) = repo_address(&task.request) else {
        let text = "name a repository: by InitRun, or with the parameter repo_url";
        return Err(RunError::permanent("repo_missing", text));
    };
    let session_id = &task.request.session.session_id;
    let opened = with_progress(&task.emitter, |newest| async move {
        let repositories = task.context.repositories();
        let tell = |progress: crate::runner::repo::git::CloneProgress| {
            // Fetching is the smaller half of the work.
            newest.send_replace((progress.overall() / 2, progress.message()));
        };
        repositories.open(&address, session_id, &task.cancel, tell).await
    });
    Ok(opened.await??)
}
