//! Drops ended runs when nobody may want them any more.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;

use crate::{runtime::clock, storage::RunLog};

/// The longest pause between two sweeps; a short retention is swept more often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Drops runs `keep` after their end, again and again. Never returns.
pub async fn sweep_ended(log: Arc<dyn RunLog>, keep: Duration) {
    let interval = (keep / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    loop {
        tokio::time::sleep(interval).await;
        if let Ok(instant) = clock::now().checked_sub(keep) {
            log.drop_ended_before(instant).await;
        }
    }
}
