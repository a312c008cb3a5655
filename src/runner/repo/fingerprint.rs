//! The state of a repository in a few characters: as long as they are the same, what was read in it still holds.
//!
//! Git itself is not asked. `git status` runs programs that the repository's own configuration names (file system
//! monitors, filters of attributes, those of submodules), reads a work tree that the configuration may place anywhere,
//! and may fetch missing objects. What it does that is of use here, looking at every file's size and times, is done
//! without it.

use std::path::Path;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::tree::{RepoDir, open_file, read_bounded};

/// Files that are looked at; a repository with more has no fingerprint.
const MAX_FILES: usize = 500_000;

/// Bytes of `.git/HEAD` and of a branch's file that are read. They hold a name or a hash.
const MAX_REF_BYTES: usize = 4096;

/// Bytes of the packed branches that are read. What comes after them does not count; the files do.
const MAX_PACKED_BYTES: usize = 4 << 20;

/// A digest of the branch and commit that are checked out and of the name, size, times and place of every file that is
/// not ignored. `None` when it cannot be told: too many files, some could not be looked at, or cancelled.
///
/// Blocks on the disk.
pub fn head_state(dir: &RepoDir, cancel: &CancellationToken) -> Option<String> {
    let mut digest = Sha256::new();
    for part in head(dir) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut walk = dir.walk();
    for (count, file) in walk.by_ref().enumerate() {
        if count >= MAX_FILES || cancel.is_cancelled() {
            return None;
        }
        digest.update((file.path.len() as u64).to_le_bytes());
        digest.update(&file.path);
        digest.update(file.stamp());
    }
    if walk.left_out() > 0 {
        return None;
    }
    Some(digest.finalize().iter().map(|it| format!("{it:02x}")).collect())
}

/// What `.git/HEAD` says, and the commit of the branch it names. Empty where `.git` is no folder: a work tree's or
/// submodule's own is outside of it.
fn head(dir: &RepoDir) -> [Vec<u8>; 2] {
    let read = |path: &str, max| {
        let file = open_file(dir.handle(), Path::new(path)).ok()?;
        read_bounded(file, max).ok().map(|(bytes, _)| bytes)
    };
    let Some(head) = read(".git/HEAD", MAX_REF_BYTES) else { return Default::default() };
    let text = String::from_utf8_lossy(&head).into_owned();
    let commit = text.strip_prefix("ref: ").map(str::trim).and_then(|name| {
        read(&format!(".git/{name}"), MAX_REF_BYTES).or_else(|| {
            let packed = String::from_utf8_lossy(&read(".git/packed-refs", MAX_PACKED_BYTES)?).into_owned();
            let line = packed.lines().find(|it| it.split_once(' ').is_some_and(|(_, it)| it == name))?;
            Some(line.as_bytes().to_vec())
        })
    });
    [head, commit.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::runner::repo::git::testing::TestRepo;

    fn state(repo: &TestRepo) -> String {
        head_state(&RepoDir::open(&repo.path()).unwrap(), &CancellationToken::new()).unwrap()
    }

    #[test]
    fn it_changes_with_whatever_can_be_read() {
        let repo = TestRepo::new(&[("a.txt", "one"), (".gitignore", "*.log")]);
        let mut seen = vec![state(&repo)];
        assert_eq!(state(&repo), seen[0], "the same while nothing changes");
        repo.write(&[("x.log", "ignored")]);
        assert_eq!(state(&repo), seen[0], "ignored files do not count");
        let changes: [&dyn Fn(); 6] = [
            &|| repo.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]).clear(),
            &|| repo.git(&["checkout", "--quiet", "-b", "other"]).clear(),
            &|| repo.write(&[("a.txt", "two")]),
            &|| repo.write(&[("new.txt", "")]),
            &|| fs::rename(repo.path().join("new.txt"), repo.path().join("newer.txt")).unwrap(),
            &|| fs::remove_file(repo.path().join("newer.txt")).unwrap(),
        ];
        for change in changes.iter().take(5) {
            change();
            let now = state(&repo);
            assert!(!seen.contains(&now));
            seen.push(now);
        }
        changes[5]();
        assert_ne!(Some(&state(&repo)), seen.last());
    }

    #[test]
    fn a_packed_branch_counts() {
        let repo = TestRepo::new(&[("a.txt", "one")]);
        repo.git(&["pack-refs", "--all"]);
        let before = head(&RepoDir::open(&repo.path()).unwrap());
        assert!(before[1].starts_with(repo.git(&["rev-parse", "HEAD"]).trim().as_bytes()));
    }

    #[test]
    fn nothing_that_the_repository_names_is_run() {
        let repo = TestRepo::new(&[("a.txt", "one"), (".gitattributes", "* filter=evil diff=evil\n")]);
        let (ran, program) = (repo.parent().join("ran"), repo.parent().join("evil"));
        fs::write(&program, format!("#!/bin/sh\ntouch {}\ncat\n", ran.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let program = program.to_str().unwrap();
        for key in
            ["core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.external", "core.pager"]
        {
            repo.git(&["config", key, program]);
        }
        fs::copy(program, repo.path().join(".git/hooks/post-index-change")).unwrap();
        repo.write(&[("a.txt", "two")]);
        state(&repo);
        assert!(!ran.exists());
        // The trap is a real one.
        _ = std::process::Command::new("git").arg("status").current_dir(repo.path()).output();
        assert!(ran.exists());
    }
}
