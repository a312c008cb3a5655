//! The `grpc-timeout` header.

use std::time::Duration;

use http::HeaderMap;

/// A `grpc-timeout` header has at most this many digits.
const MAX_DIGITS: usize = 8;

/// A `grpc-timeout` that is not 1 to 8 digits and one of the units `H M S m u n`.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("grpc-timeout must be 1 to 8 digits and a unit of H, M, S, m, u or n")]
pub(super) struct MalformedTimeout;

/// How long the client is willing to wait, counted from now.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    headers.get("grpc-timeout").map(|value| parse(value.as_bytes()).ok_or(MalformedTimeout)).transpose()
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood() {
        assert_eq!(parse(b"2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse(b"99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse(b"200m"), Some(Duration::from_millis(200)));
        assert_eq!(parse(b"7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse(b"0n"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_malformed() {
        for value in ["", "m", "1", "1 m", "-1m", "1s", "123456789m", "+1S"] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }
}
