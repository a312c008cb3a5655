//! When a call is tried again, and after which pause.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::{LlmError, Unavailable};

/// The pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause of our own is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A server that asks for more patience than this is not waited for: the call fails and tells how long it asked for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long to wait before retry number `retry` (0 is the first) after `error`. `None`: another try makes no sense.
///
/// `chance` in `0.0..1.0` takes up to half of the pause away, so that callers who failed together do not return together.
pub(super) fn pause(error: &LlmError, retry: u32, chance: f64) -> Option<Duration> {
    let own = FIRST_PAUSE.saturating_mul(1 << retry.min(8)).min(LONGEST_PAUSE);
    let own = own.mul_f64(1.0 - chance / 2.0);
    match error {
        LlmError::RateLimited { retry_after: Some(asked) } => {
            (*asked <= LONGEST_RETRY_AFTER).then(|| own.max(*asked))
        }
        LlmError::RateLimited { retry_after: None } => Some(own),
        LlmError::Unavailable(
            Unavailable::Connection(_)
            | Unavailable::Status(_)
            | Unavailable::Broken(_)
            | Unavailable::Incomplete
            | Unavailable::Reported,
        ) => Some(own),
        LlmError::Unauthorized
        | LlmError::Timeout(_)
        | LlmError::BadResponse(_)
        | LlmError::Refused { .. }
        | LlmError::Cancelled => None,
    }
}

/// A number in `0.0..1.0` that nobody needs to guess wrong: spread is all that is asked of it.
pub(super) fn chance() -> f64 {
    (RandomState::new().hash_one(0) % 1000) as f64 / 1000.0
}

/// What the server asks for in `Retry-After`: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let wait: SignedDuration = date.duration_since(now);
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_vary() {
        let error = LlmError::Unavailable(Unavailable::Status(500));
        let pauses: Vec<_> = (0..7).map(|retry| pause(&error, retry, 0.0).unwrap().as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 8000, 8000]);
        assert_eq!(pause(&error, 0, 0.999).unwrap().as_millis(), 250);
        assert!(pause(&error, u32::MAX, 0.5).is_some());
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..1.0).contains(&chance)));
    }

    #[test]
    fn a_wish_of_the_server_is_granted_within_bounds() {
        let limited = |seconds| LlmError::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(pause(&limited(20), 0, 0.0), Some(Duration::from_secs(20)));
        assert_eq!(pause(&limited(0), 0, 0.0), Some(FIRST_PAUSE));
        assert_eq!(pause(&limited(61), 0, 0.0), None);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(pause(&LlmError::Unauthorized, 0, 0.0), None);
        assert_eq!(pause(&LlmError::Refused { status: 400 }, 0, 0.0), None);
        assert_eq!(pause(&LlmError::Cancelled, 0, 0.0), None);
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        let read =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("-1"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
