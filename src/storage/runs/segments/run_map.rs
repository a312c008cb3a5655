//! A map by run. The ids are UUIDs that the gateway makes itself, so nobody can choose them to collide, and they are
//! looked up several times for each event, most of them while the table is locked.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::model::RunId;

/// A map by run.
pub(super) type RunMap<T> = HashMap<RunId, T, BuildHasherDefault<IdHasher>>;

/// Mixes all bytes of an id into all bits of its hash, with a multiplication for eight of them and one more.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.0 = mixed(self.0 ^ u64::from_le_bytes(word));
        }
    }

    /// All ids are of one length.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        mixed(self.0)
    }
}

/// Both halves of a product with numbers without a pattern, because the lower bits of one are weak.
fn mixed(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher as _};

    use uuid::Uuid;

    use super::*;

    #[test]
    fn ids_that_differ_little_are_spread_over_the_map() {
        let hasher = BuildHasherDefault::<IdHasher>::default();
        let ids = |shift: u32| (0..4096u128).map(move |it| RunId::new(Uuid::from_u128(it << shift)));
        for shift in [0, 40, 64, 116] {
            // The bits that choose the place, and those that tell neighbours apart.
            for bits in [0, 52] {
                let places: HashSet<_> = ids(shift).map(|it| hasher.hash_one(it) >> bits & 0xfff).collect();
                assert!(places.len() > 2300, "{} of 4096 places, {shift}, {bits}", places.len());
            }
        }
    }
}
