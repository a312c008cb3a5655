//! Remembers the session of each gateway between commands.

use std::{
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::gateway_url::GatewayUrl;
use crate::model::SessionId;

/// A longer file holds no session id; no more of it is read.
const MAX_BYTES: u64 = 256;

/// Where the session of one gateway is remembered: `$XDG_STATE_HOME/rungate/session-HOST_PORT`, or below
/// `~/.local/state`. Who has neither folder has no memory.
#[derive(Debug, Clone)]
pub(super) struct SessionFile {
    path: Option<PathBuf>,
}

impl SessionFile {
    /// The memory for a gateway.
    pub(super) fn of(gateway: &GatewayUrl) -> Self {
        let folder = state_folder(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"));
        Self { path: folder.map(|it| it.join(format!("session-{}", gateway.file_name()))) }
    }

    /// The session that was remembered last. A file that cannot be read, or has something else in it, is no memory.
    pub(super) fn read(&self) -> Option<SessionId> {
        let file = fs::File::open(self.path.as_ref()?).ok()?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        SessionId::parse(text.trim()).ok()
    }

    /// Remembers the session. Only the person may read the file: who knows a session's id may use it.
    pub(super) fn write(&self, session: &SessionId) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Two commands may write at a time; each writes a file of its own and the last to rename wins.
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{session}\n").as_bytes())?;
        fs::rename(&fresh, path)
    }
}

/// As the XDG base directory specification has it: a path that is not absolute is ignored.
fn state_folder(xdg_state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |it: Option<OsString>| it.map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute(xdg_state_home).or_else(|| absolute(home).map(|it| it.join(".local/state")));
    state.map(|it| it.join("rungate"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(folder: &tempfile::TempDir) -> SessionFile {
        SessionFile { path: Some(folder.path().join("below/session-127.0.0.1_8080")) }
    }

    #[test]
    fn a_session_is_remembered_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        assert_eq!(file.read(), None);
        for id in ["session_1", "session_2"] {
            let id = SessionId::parse(id).unwrap();
            file.write(&id).unwrap();
            assert_eq!(file.read(), Some(id));
        }
        let path = file.path.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the file is left");
    }

    #[test]
    fn a_damaged_file_is_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.write(&SessionId::parse("s").unwrap()).unwrap();
        for damage in ["", "../../etc/passwd", "two words", &"x".repeat(5000)] {
            fs::write(file.path.as_ref().unwrap(), damage).unwrap();
            assert_eq!(file.read(), None, "{damage:?}");
        }
    }

    #[test]
    fn the_folder_is_where_state_belongs() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            state_folder(xdg.map(Into::into), home.map(Into::into)).map(|it| it.display().to_string())
        };
        assert_eq!(folder(Some("/state"), Some("/home/a")).as_deref(), Some("/state/rungate"));
        assert_eq!(folder(None, Some("/home/a")).as_deref(), Some("/home/a/.local/state/rungate"));
        assert_eq!(folder(Some("relative"), Some("/h")).as_deref(), Some("/h/.local/state/rungate"));
        assert_eq!(folder(Some(""), None), None);
    }
}
