//! Idempotency keys: what a client names a request by, so that sending it again starts nothing twice.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::SessionId;

/// The first half of a SHA-256: long enough that nobody meets two texts with the same one, short enough to keep many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 16]);

/// A client's key together with what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key, which is the session's own.
    pub name: Digest,
    /// The request that was sent with it.
    pub request: Digest,
}

impl Digest {
    /// The digest of `parts`. Moving a border between them makes another digest.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize()[..16]);
        Self(half)
    }
}

impl IdempotencyKey {
    /// The key `text` of `session_id`, used for `request`.
    pub fn new(session_id: &SessionId, text: &str, request: &str) -> Self {
        let name = Digest::of(&[session_id.as_str().as_bytes(), text.as_bytes()]);
        Self { name, request: Digest::of(&[request.as_bytes()]) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_key_is_its_sessions_own() {
        let [one, two] = [1, 2].map(|it| SessionId::new(Uuid::from_u128(it)));
        let key = IdempotencyKey::new(&one, "k", "start");
        assert_eq!(key, IdempotencyKey::new(&one, "k", "start"));
        assert_ne!(key.name, IdempotencyKey::new(&two, "k", "start").name);
        assert_ne!(key.request, IdempotencyKey::new(&one, "k", "start another").request);
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
    }
}
