//! Goes through a repository's files: folder by folder through handles, so that nothing leads out of it.

use std::{ffi::OsString, path::Path, sync::Arc, vec};

use cap_std::fs::{Dir, File, FileType, Metadata, MetadataExt};
use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use super::tree::{ReadError, lossy, open_file, read_bounded};

/// Folders within folders. Deeper ones are left out, and counted. Bounds the open handles of a walk.
const MAX_DEPTH: usize = 100;

/// Names in one folder. What comes after them is left out, and counted. Bounds the memory of a walk.
const MAX_NAMES: usize = 500_000;

/// Bytes and patterns of a `.gitignore` that are read; what comes after them does not count. A hostile one must not
/// take the memory or the time that its patterns ask for.
const MAX_IGNORE_BYTES: usize = 64 << 10;
const MAX_IGNORE_PATTERNS: usize = 2000;

/// All files of a repository, depth first, in the order of their names. Symbolic links are passed over: what they lead
/// to is met at its own place, or is none of the repository's.
pub struct Walk {
    stack: Vec<Frame>,
    left_out: u64,
}

/// A file that was met.
pub struct WalkedFile {
    /// From the root, with `/` between the names. Names that are no UTF-8 are shown with replacement characters.
    pub path: String,
    /// What the disk says of it.
    pub metadata: Metadata,
    dir: Arc<Dir>,
    name: OsString,
}

struct Frame {
    dir: Arc<Dir>,
    /// From the root; empty for the root itself.
    path: String,
    names: vec::IntoIter<(OsString, FileType)>,
    ignores: Option<Arc<Ignores>>,
}

/// The patterns of one folder, and those of the folders around it.
struct Ignores {
    patterns: Gitignore,
    around: Option<Arc<Ignores>>,
}

impl Walk {
    pub(super) fn new(root: &Arc<Dir>) -> Self {
        let mut walk = Self { stack: Vec::new(), left_out: 0 };
        // `.git` may be a file that names another place; then that place's patterns are not ours to read.
        let exclude = ignores(root, Path::new(".git/info/exclude"), "", None);
        walk.enter(root.clone(), String::new(), exclude);
        walk
    }

    /// Folders and files that could not be read or lay beyond a bound, so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn enter(&mut self, dir: Arc<Dir>, path: String, around: Option<Arc<Ignores>>) {
        let Ok(entries) = dir.entries() else {
            self.left_out += 1;
            return;
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry.and_then(|it| Ok((it.file_name(), it.file_type()?))) {
                Ok(_) if names.len() >= MAX_NAMES => self.left_out += 1,
                Ok((name, _)) if name == ".git" => {}
                Ok((name, kind)) if kind.is_dir() || kind.is_file() => names.push((name, kind)),
                Ok(_) => {}
                Err(_) => self.left_out += 1,
            }
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let ignores = match names.iter().any(|(name, kind)| name == ".gitignore" && kind.is_file()) {
            true => ignores(&dir, Path::new(".gitignore"), &path, around),
            false => around,
        };
        self.stack.push(Frame { dir, path, names: names.into_iter(), ignores });
    }
}

impl Iterator for Walk {
    type Item = WalkedFile;

    fn next(&mut self) -> Option<WalkedFile> {
        loop {
            let depth = self.stack.len();
            let frame = self.stack.last_mut()?;
            let Some((name, kind)) = frame.names.next() else {
                self.stack.pop();
                continue;
            };
            let shown = name.to_string_lossy();
            let path =
                if frame.path.is_empty() { shown.into_owned() } else { format!("{}/{shown}", frame.path) };
            if frame.ignores.as_ref().is_some_and(|it| it.matches(&path, kind.is_dir())) {
                continue;
            }
            if kind.is_file() {
                match frame.dir.symlink_metadata(&name) {
                    Ok(metadata) if metadata.is_file() => {
                        return Some(WalkedFile { path, metadata, dir: frame.dir.clone(), name });
                    }
                    _ => self.left_out += 1,
                }
            } else if depth > MAX_DEPTH {
                self.left_out += 1;
            } else {
                match frame.dir.open_dir(&name) {
                    Ok(dir) => {
                        let ignores = frame.ignores.clone();
                        self.enter(Arc::new(dir), path, ignores);
                    }
                    Err(_) => self.left_out += 1,
                }
            }
        }
    }
}

impl WalkedFile {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.metadata.len()
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<File, ReadError> {
        open_file(&self.dir, Path::new(&self.name))
    }

    /// What changes whenever the file is written: name, size, times, and place on the disk.
    pub(super) fn stamp(&self) -> [u8; 56] {
        let it = &self.metadata;
        let numbers = [
            it.len(),
            it.ino(),
            u64::from(it.mode()),
            it.mtime() as u64,
            it.mtime_nsec() as u64,
            it.ctime() as u64,
            it.ctime_nsec() as u64,
        ];
        let mut stamp = [0; 56];
        for (place, number) in stamp.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        stamp
    }
}

impl Ignores {
    /// The innermost pattern that fits decides, as in git.
    fn matches(&self, path: &str, is_dir: bool) -> bool {
        // The patterns' own root is `/` and the folder's path; see `ignores`.
        let path = format!("/{path}");
        let mut ignores = Some(self);
        while let Some(it) = ignores {
            match it.patterns.matched(&path, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => ignores = it.around.as_deref(),
            }
        }
        false
    }
}

/// The patterns in the file `file` of `dir`, which is the folder `path`. A file that cannot be read has none.
fn ignores(dir: &Dir, file: &Path, path: &str, around: Option<Arc<Ignores>>) -> Option<Arc<Ignores>> {
    let read = || {
        let bytes = read_bounded(open_file(dir, file).ok()?, MAX_IGNORE_BYTES).ok()?.0;
        let mut builder = GitignoreBuilder::new(format!("/{path}"));
        for line in lossy(bytes).lines().take(MAX_IGNORE_PATTERNS) {
            // As in git, a line that is no pattern does not spoil the others.
            _ = builder.add_line(None, line);
        }
        builder.build().ok().filter(|it| !it.is_empty())
    };
    match read() {
        Some(patterns) => Some(Arc::new(Ignores { patterns, around })),
        None => around,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::runner::repo::{git::testing::TestRepo, tree::RepoDir};

    fn paths(root: &Path) -> Vec<String> {
        RepoDir::open(root).unwrap().walk().map(|it| it.path).collect()
    }

    #[test]
    fn a_walk_sees_what_git_sees() {
        let repo = TestRepo::new(&[
            (".gitignore", "target/\n*.log\n!keep.log\n/only-root\n[bad\n"),
            ("a.rs", ""),
            ("target/x", ""),
            ("b.log", ""),
            ("keep.log", ""),
            ("only-root", ""),
            ("sub/.gitignore", "!b.log\nhere/*.c\n"),
            ("sub/b.log", ""),
            ("sub/c.log", ""),
            ("sub/only-root", ""),
            ("sub/here/x.c", ""),
            ("sub/here/x.h", ""),
            ("deep/sub/here/x.c", ""),
            ("excluded/x", ""),
            (".hidden/x", ""),
        ]);
        repo.write(&[(".git/info/exclude", "excluded\n")]);
        repo.git(&["rm", "--quiet", "-r", "--cached", "."]);
        let seen_by_git = repo.git(&["ls-files", "--others", "--exclude-standard"]);
        let mut seen_by_git: Vec<_> = seen_by_git.lines().collect();
        let mut seen = paths(&repo.path());
        seen_by_git.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, seen_by_git);
        assert!(seen.len() > 5, "{seen:?}");
    }

    #[test]
    fn hostile_trees_do_not_lead_out_or_hold_up() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(folder.path().join("outside/deep")).unwrap();
        fs::write(folder.path().join("outside/deep/secret"), "").unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("..", root.join("sub/up")).unwrap();
        symlink("/dev/zero", root.join(".gitignore")).unwrap();
        std::process::Command::new("mkfifo").arg(root.join("sub/.gitignore")).status().unwrap();
        fs::write(root.join("a"), "").unwrap();
        assert_eq!(paths(&root), ["a"]);
    }

    #[test]
    fn what_lies_too_deep_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(MAX_DEPTH + 20);
        fs::create_dir_all(folder.path().join(&deep)).unwrap();
        fs::write(folder.path().join(&deep).join("x"), "").unwrap();
        fs::write(folder.path().join("z"), "").unwrap();
        let mut walk = RepoDir::open(folder.path()).unwrap().walk();
        assert_eq!(walk.by_ref().map(|it| it.path).collect::<Vec<_>>(), ["z"]);
        assert_eq!(walk.left_out(), 1);
    }
}
