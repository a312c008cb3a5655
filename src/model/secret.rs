//! A text that is used and never shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::Digest;

/// A key, token or password. Neither `Debug` nor serialization shows it: both tell only whether there is one.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when `text` is the secret. The time that this takes tells nothing about the secret: how similar two digests are
    /// tells nothing of the texts, and they are looked at to their ends.
    pub fn is(&self, text: &str) -> bool {
        let [own, other] = [&self.0, text].map(|it| Digest::of(&[it.as_bytes()]).0);
        own.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
    }

    /// `text` without the secret, for texts that others wrote and that may repeat it.
    pub fn redact(&self, text: &str) -> String {
        if self.is_empty() { text.to_owned() } else { text.replace(&self.0, SHOWN) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { SHOWN })
    }
}

/// What stands where a secret would.
const SHOWN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret: Secret = serde_json::from_str("\"sk-1\"").unwrap();
        assert_eq!(secret.reveal(), "sk-1");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.redact("bad key sk-1!"), "bad key ***!");
        assert!(secret.is("sk-1") && !secret.is("sk-") && !secret.is("sk-11") && !secret.is(""));
        assert_eq!(Secret::default().redact("nothing to hide"), "nothing to hide");
    }
}
