//! Pauses between tries: doubling, bounded, and scattered so that many who wait do not come back together.

use std::time::Duration;

use uuid::Uuid;

/// Counts tries and says how long to wait before the next.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
    /// The share of a pause that chance may take away.
    scatter: f64,
}

impl Backoff {
    /// Pauses around `first`, then around twice as long each time, up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest, scatter: 0.5 }
    }

    /// The same, of whose pauses chance takes away at most the share `scatter`, from 0 to 1.
    #[must_use]
    pub fn scattered_by(self, scatter: f64) -> Self {
        Self { scatter, ..self }
    }

    /// The pause before the next try: between half and all of its nominal length, unless scattered otherwise.
    pub fn pause(&mut self) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.longest);
        nominal.mul_f64(1.0 - self.scatter * scatter())
    }

    /// Begins again after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number from 0 to 1. The random bits of a UUID serve; nothing here guards a secret.
fn scatter() -> f64 {
    let bits = Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for nominal in [1, 2, 4, 4] {
            let nominal = Duration::from_secs(nominal);
            let pause = backoff.pause();
            assert!((nominal / 2..=nominal).contains(&pause), "{pause:?} for {nominal:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }
}
