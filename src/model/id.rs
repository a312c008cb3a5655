//! Ids: texts with a prefix that says what they name. Clients treat them as opaque.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest id that is looked at; a longer one names nothing.
const MAX_ID_BYTES: usize = 128;

/// A text that cannot be an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id")]
pub struct IdError {
    kind: &'static str,
}

/// Names a run: `run_` and a UUIDv7, so that ids sort by the time of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

/// Names a session. Stored sessions may carry ids of other makers, so any short printable text will do. Clones share it: what
/// is known of a run has one, and is handed on with each of its events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionId(Arc<str>);

/// Names a question that a worker asked: of the person, of a tool, or for an approval. Unique within its run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub String);

impl RunId {
    const PREFIX: &str = "run_";

    /// The id made of `uuid`, which should be a fresh UUIDv7.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Reads `run_` and a UUID.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let uuid = text.strip_prefix(Self::PREFIX).and_then(|it| it.parse().ok());
        uuid.map(Self).ok_or(IdError { kind: "run" })
    }

    /// The sixteen bytes behind the id.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.0)
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl SessionId {
    /// The id made of `uuid`, which should be fresh.
    pub fn new(uuid: Uuid) -> Self {
        Self(format!("session_{uuid}").into())
    }

    /// Reads an id: 1 to 128 visible ASCII characters that can stand in a cookie, a path and a file name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good =
            (1..=MAX_ID_BYTES).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.');
        if good { Ok(Self(text.into())) } else { Err(IdError { kind: "session" }) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SessionId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_reads_back() {
        let id = RunId::new(Uuid::from_u128(7));
        assert_eq!(RunId::parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn other_texts_are_no_run_ids() {
        for text in ["", "run_", "run_x", "00000000-0000-0000-0000-000000000007", "Run_1"] {
            assert!(RunId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_session_id_can_be_a_file_name() {
        assert!(SessionId::parse("session-1770654000000000000").is_ok());
        for text in ["", "..", ".hidden", "a/b", "a b", "ä", &"x".repeat(129)] {
            assert!(SessionId::parse(text).is_err(), "{text:?}");
        }
    }
}
