//! How runs are watched.

use std::{ops::RangeInclusive, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

/// Below this a timer costs more than it saves; above it people see the text come in pieces.
const SENSIBLE: RangeInclusive<Duration> = Duration::from_millis(2)..=Duration::from_millis(20);

/// How runs are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSettings {
    /// How long watchers that have seen everything are not told of what is new, so that all that has come meanwhile goes out in
    /// one write.
    pub coalesce: Coalesce,
    /// A run that was started with `cancel_on_disconnect` is cancelled when nobody has watched it for so long.
    #[serde(with = "duration")]
    pub disconnect_grace: Duration,
}

/// A pause between the news of an event and its delivery: none, or from 2 to 20 milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Spelt", into = "Spelt")]
pub struct Coalesce(Duration);

/// A pause that nobody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("watch.coalesce is 0s (off), or from 2ms to 20ms")]
pub struct BadCoalesce;

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Spelt(#[serde(with = "duration")] Duration);

impl Default for WatchSettings {
    fn default() -> Self {
        Self { coalesce: Coalesce::default(), disconnect_grace: Duration::from_secs(30) }
    }
}

impl Coalesce {
    /// Whether nothing is waited for.
    pub(super) fn is_none(self) -> bool {
        self.0.is_zero()
    }

    /// Waits as long as is set; without a setting not even for the next turn of the task.
    pub(super) async fn pause(self) {
        if !self.is_none() {
            tokio::time::sleep(self.0).await;
        }
    }
}

impl TryFrom<Duration> for Coalesce {
    type Error = BadCoalesce;

    fn try_from(pause: Duration) -> Result<Self, BadCoalesce> {
        if pause.is_zero() || SENSIBLE.contains(&pause) { Ok(Self(pause)) } else { Err(BadCoalesce) }
    }
}

impl TryFrom<Spelt> for Coalesce {
    type Error = BadCoalesce;

    fn try_from(Spelt(pause): Spelt) -> Result<Self, BadCoalesce> {
        Self::try_from(pause)
    }
}

impl From<Coalesce> for Spelt {
    fn from(Coalesce(pause): Coalesce) -> Self {
        Self(pause)
    }
}
