//! Drops ended runs when nobody may want them any more.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::limits,
    runtime::clock,
    storage::{RunLog, Trim},
};

/// The longest pause between two sweeps; a short retention is swept more often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Drops runs `keep` after their end, and idempotency keys after their time, again and again. Never returns.
pub async fn sweep_ended(log: Arc<dyn RunLog>, keep: Duration) {
    let interval = (keep / 4).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    loop {
        tokio::time::sleep(interval).await;
        let before = |age| clock::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        log.trim(Trim { ended_before: before(keep), keys_before: before(limits::IDEMPOTENCY_KEPT) }).await;
    }
}
