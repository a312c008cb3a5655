//! A repository's files, reached in a way that cannot leave the repository.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, File, OpenOptions, OpenOptionsExt},
};
use rustix::fs::OFlags;

use super::walk::Walk;

/// The root of a repository. `..`, absolute paths and symbolic links that lead out of it end in
/// [`ReadError::Outside`] or [`ReadError::NotFound`].
#[derive(Debug, Clone)]
pub struct RepoDir {
    dir: Arc<Dir>,
}

/// A file's beginning as text. Bytes that are no UTF-8 are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// The text.
    pub text: String,
    /// True when the file goes on.
    pub truncated: bool,
}

/// Why a file cannot be read. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing there.
    #[error("there is no such file in the repository")]
    NotFound,
    /// The path leads out of the repository.
    #[error("the path leads out of the repository")]
    Outside,
    /// A folder, a device, a pipe.
    #[error("this is not a file")]
    NotAFile,
    /// The disk or its permissions.
    #[error("the file cannot be read")]
    Unreadable,
}

impl RepoDir {
    /// Takes hold of the folder `root`. What is later moved to that path is not looked at.
    pub fn open(root: &Path) -> io::Result<Self> {
        Dir::open_ambient_dir(root, ambient_authority()).map(|dir| Self { dir: Arc::new(dir) })
    }

    /// The first `max_bytes` of a file. Symbolic links are followed within the repository.
    pub fn read_text(&self, path: impl AsRef<Path>, max_bytes: usize) -> Result<TextFile, ReadError> {
        let file = open_file(&self.dir, path.as_ref())?;
        let (bytes, truncated) = read_bounded(file, max_bytes).map_err(|_| ReadError::Unreadable)?;
        Ok(TextFile { text: lossy(bytes), truncated })
    }

    /// All files, in a fixed order, without those that `.gitignore` files name and without `.git`.
    pub fn walk(&self) -> Walk {
        Walk::new(&self.dir)
    }

    pub(super) fn handle(&self) -> &Arc<Dir> {
        &self.dir
    }
}

/// Opens a file for reading. Never waits: a pipe is opened without a writer, and then refused like all that is no file.
pub(super) fn open_file(dir: &Dir, path: &Path) -> Result<File, ReadError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    let file = dir.open_with(path, &options).map_err(|it| read_error(&it))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(ReadError::NotAFile),
        Err(_) => Err(ReadError::Unreadable),
    }
}

/// At most `max_bytes`, and whether there are more.
pub(super) fn read_bounded(file: impl Read, max_bytes: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    let truncated = bytes.len() > max_bytes;
    bytes.truncate(max_bytes);
    Ok((bytes, truncated))
}

/// The bytes as text, without a byte order mark and without a character that was cut in two.
pub(super) fn lossy(bytes: Vec<u8>) -> String {
    let bytes = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => &bytes[..],
    };
    let text = String::from_utf8_lossy(bytes);
    text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
}

/// The path without `.` and `..`, with `/` between names; `None` when it leads above the root or is absolute.
pub(super) fn normalized(path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            _ => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// The path `relative` of the folder `folder`, both within the repository.
pub(super) fn joined(folder: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') {
        None
    } else {
        normalized(&PathBuf::from(folder).join(relative).to_string_lossy())
    }
}

fn read_error(error: &io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::NotFound,
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => ReadError::NotFound,
        io::ErrorKind::IsADirectory => ReadError::NotAFile,
        // What cap-std says of a path that leads out, by itself or by a symbolic link.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => ReadError::Outside,
        // A socket or a device without a driver.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => ReadError::NotAFile,
        _ => ReadError::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn files_inside_are_read_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/a.txt"), "\u{feff}abcä").unwrap();
        symlink("src/a.txt", folder.path().join("link")).unwrap();
        let dir = RepoDir::open(folder.path()).unwrap();
        let whole = TextFile { text: "abcä".into(), truncated: false };
        assert_eq!(dir.read_text("src/a.txt", 100), Ok(whole.clone()));
        assert_eq!(dir.read_text("src/../src/a.txt", 8), Ok(whole.clone()));
        assert_eq!(dir.read_text("link", 100), Ok(whole));
        assert_eq!(dir.read_text("src/a.txt", 7), Ok(TextFile { text: "abc".into(), truncated: true }));
        assert_eq!(dir.read_text("none", 100), Err(ReadError::NotFound));
        assert_eq!(dir.read_text("src", 100), Err(ReadError::NotAFile));
    }

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repo");
        fs::create_dir(&root).unwrap();
        fs::write(folder.path().join("secret"), "x").unwrap();
        symlink("../secret", root.join("relative")).unwrap();
        symlink(folder.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/dev/zero", root.join("zero")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let dir = RepoDir::open(&root).unwrap();
        for path in
            ["../secret", "/etc/passwd", "relative", "absolute", "up/secret", "zero", "x/../../secret"]
        {
            let refused = dir.read_text(path, 10);
            assert!(matches!(refused, Err(ReadError::Outside | ReadError::NotFound)), "{path}: {refused:?}");
        }
        assert_eq!(dir.read_text("../secret", 10), Err(ReadError::Outside));
        assert!(dir.read_text("loop", 10).is_err());
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
        let dir = RepoDir::open(folder.path()).unwrap();
        assert_eq!(dir.read_text("pipe", 10), Err(ReadError::NotAFile));
    }

    #[test]
    fn paths_are_joined_within_the_repository() {
        assert_eq!(joined("a/b", "../c/./d"), Some("a/c/d".into()));
        assert_eq!(joined("", "."), Some(String::new()));
        assert_eq!(joined("a", "../.."), None);
        assert_eq!(joined("a", "/etc"), None);
    }
}
