//! When a call is tried again: three times, after a second, two and four, each a little shorter by chance.

use std::time::Duration;

use super::client::CallError;
use crate::runtime::backoff::Backoff;

/// How often a call is tried again.
const RETRIES: u32 = 3;
/// The pause before the first; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The share of a pause that chance may take away, so that callers who failed together do not return together.
const JITTER: f64 = 0.1;

/// Which failures are worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retries {
    /// Only those where the call has not arrived: it must not be done twice.
    NotArrived,
    /// All that may pass: it may be done twice.
    Safe,
}

/// Calls until it succeeds, or another try makes no sense.
pub(super) async fn retried<T, F>(retries: Retries, call: impl Fn() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).scattered_by(JITTER);
    let mut tried = 0;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = match retries {
            Retries::NotArrived => error.has_not_arrived(),
            Retries::Safe => error.may_pass(),
        };
        if !again || tried == RETRIES {
            return Err(error);
        }
        tried += 1;
        let pause = backoff.pause();
        tracing::debug!(error = &error as &dyn std::error::Error, ?pause, "an orchestrator is called again");
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use reqwest::StatusCode;
    use tokio::time::Instant;

    use super::*;

    async fn pauses(retries: Retries, status: u16) -> Vec<f64> {
        let calls = RefCell::new(Vec::new());
        let call = || {
            calls.borrow_mut().push(Instant::now());
            std::future::ready(Err::<(), _>(CallError::Status(StatusCode::from_u16(status).unwrap())))
        };
        assert!(retried(retries, call).await.is_err());
        let calls = calls.into_inner();
        calls.windows(2).map(|it| (it[1] - it[0]).as_secs_f64()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_safe_is_tried_three_times_more() {
        let pauses = pauses(Retries::Safe, 500).await;
        assert_eq!(pauses.len(), 3, "{pauses:?}");
        for (pause, nominal) in pauses.into_iter().zip([1.0, 2.0, 4.0]) {
            assert!((nominal * 0.9 - 0.01..=nominal + 0.01).contains(&pause), "{pause} for {nominal}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_arrived_is_not_repeated_where_that_is_not_safe() {
        assert_eq!(pauses(Retries::NotArrived, 500).await, [0.0; 0]);
        assert_eq!(pauses(Retries::Safe, 404).await, [0.0; 0]);
    }
}
