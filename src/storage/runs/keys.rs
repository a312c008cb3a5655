//! The idempotency keys that were used lately.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::UsedKey;
use crate::model::{Digest, IdempotencyKey, RunId};

/// Keys by name and by age.
#[derive(Debug, Default)]
pub(super) struct UsedKeys {
    by_name: HashMap<Digest, (UsedKey, Timestamp)>,
    by_age: BTreeSet<(Timestamp, Digest)>,
}

impl UsedKeys {
    pub(super) fn get(&self, name: Digest) -> Option<UsedKey> {
        self.by_name.get(&name).map(|(used, _)| *used)
    }

    /// Remembers a key. Beyond `most` the oldest are forgotten before their time; gives back the runs they stood for.
    pub(super) fn insert(
        &mut self,
        key: IdempotencyKey,
        run_id: RunId,
        used_at: Timestamp,
        most: usize,
    ) -> Vec<RunId> {
        let used = UsedKey { run_id, request: key.request };
        if let Some((_, before)) = self.by_name.insert(key.name, (used, used_at)) {
            self.by_age.remove(&(before, key.name));
        }
        self.by_age.insert((used_at, key.name));
        let mut forgotten = Vec::new();
        while self.by_age.len() > most {
            forgotten.extend(self.forget_oldest());
        }
        forgotten
    }

    /// Forgets the keys that were used before `instant`; gives back the runs they stood for.
    pub(super) fn forget_before(&mut self, instant: Timestamp) -> Vec<RunId> {
        let mut forgotten = Vec::new();
        while self.by_age.first().is_some_and(|(used_at, _)| *used_at < instant) {
            forgotten.extend(self.forget_oldest());
        }
        forgotten
    }

    fn forget_oldest(&mut self) -> Option<RunId> {
        let (_, name) = self.by_age.pop_first()?;
        self.by_name.remove(&name).map(|(used, _)| used.run_id)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_oldest_keys_are_forgotten_first() {
        let mut keys = UsedKeys::default();
        let run = |name: Digest| RunId::new(Uuid::from_bytes(name.0));
        let [one, two, three] = [1u8, 2, 3].map(|it| Digest([it; 16]));
        for (second, name) in [(30, three), (10, one), (20, two)] {
            let used_at = Timestamp::from_second(second).unwrap();
            keys.insert(IdempotencyKey { name, request: name }, run(name), used_at, 10);
        }
        assert_eq!(keys.forget_before(Timestamp::from_second(20).unwrap()), [run(one)]);
        assert_eq!((keys.get(one), keys.get(two)), (None, Some(UsedKey { run_id: run(two), request: two })));
        let four = IdempotencyKey { name: Digest([4; 16]), request: one };
        assert_eq!(keys.insert(four, run(four.name), Timestamp::from_second(40).unwrap(), 2), [run(two)]);
    }
}
