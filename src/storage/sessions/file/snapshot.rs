//! The snapshot: a JSON array of all sessions, readable by people and by other programs.

use std::{
    fs::{self, File},
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

use serde::{Deserialize, Serialize, Serializer as _};
use serde_json::ser::{PrettyFormatter, Serializer};

use super::files::Files;
use crate::model::Session;
use crate::storage::{Revision, Stored};

/// One row as it is read. Rows of other makers may lack all but the ids; a missing time is the epoch, a missing
/// revision 0.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) session: Session,
    #[serde(default)]
    pub(super) revision: Revision,
}

/// What was read of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The rows that could be read, in the order of the file.
    pub(super) rows: Vec<Row>,
    /// True if not all of the file could be read.
    pub(super) damaged: bool,
    /// The size of the file.
    pub(super) bytes: u64,
}

#[derive(Serialize)]
struct RowOut<'a> {
    #[serde(flatten)]
    session: &'a Session,
    revision: Revision,
}

/// Reads the snapshot at `path`; nothing if there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Reading> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reading::default()),
        text => text?,
    };
    let bytes = text.len() as u64;
    Ok(match serde_json::from_slice(&text) {
        Ok(rows) => Reading { rows, damaged: false, bytes },
        Err(_) => Reading { rows: salvage(&text), damaged: true, bytes },
    })
}

/// Replaces the snapshot by one of `rows`, so that at every moment either the one or the other stands there whole.
/// Gives its size. Oldest sessions first: what is new stands at the end.
pub(super) fn write(files: &Files, mut rows: Vec<Stored>) -> io::Result<u64> {
    rows.sort_unstable_by(|a, b| {
        let key = |it: &Stored| it.session.created_at;
        key(a).cmp(&key(b)).then_with(|| a.session.session_id.cmp(&b.session.session_id))
    });
    let mut output = BufWriter::new(File::create(&files.next_snapshot)?);
    let rows = rows.iter().map(|it| RowOut { session: &it.session, revision: it.revision });
    Serializer::with_formatter(&mut output, PrettyFormatter::new()).collect_seq(rows)?;
    output.write_all(b"\n")?;
    let file = output.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    fs::rename(&files.next_snapshot, &files.snapshot)?;
    files.sync_dir()?;
    Ok(bytes)
}

/// Finds the readable rows in a text that is not an array of rows. Looks at each `{` outside of the rows found so far;
/// reading stops at the first fault, so this takes about as long as the text is.
fn salvage(text: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.iter().position(|it| *it == b'{') {
        rest = &rest[start..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Row>();
        match values.next() {
            Some(Ok(row)) => {
                rows.push(row);
                rest = &rest[values.byte_offset()..];
            }
            _ => rest = &rest[1..],
        }
    }
    rows
}
