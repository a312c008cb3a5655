//! Forgets sessions that nobody has used for long.

use std::time::Duration;

use jiff::SignedDuration;

use super::Sessions;
use crate::{model::SessionId, runtime::clock};

/// How often the sweep looks. Sessions live for days; nobody waits for their end.
const INTERVAL: Duration = Duration::from_secs(600);

/// Forgets sessions unused for `keep`, again and again; tells `forgotten` of each, so that what belongs to it can go
/// too. Never returns.
pub async fn sweep_unused<F: Future<Output = ()> + Send>(
    sessions: Sessions,
    keep: Duration,
    forgotten: impl Fn(SessionId) -> F + Send,
) {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    loop {
        let swept = match clock::now().checked_sub(keep) {
            Ok(instant) => sessions.forget_unused_since(instant).await,
            Err(_) => Ok(Vec::new()),
        };
        match swept {
            Ok(ids) if ids.is_empty() => {}
            Ok(ids) => {
                tracing::info!(count = ids.len(), "forgot unused sessions");
                for session_id in ids {
                    forgotten(session_id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "could not sweep unused sessions"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
