//! Latencies, and what is told of them.

use std::time::Duration;

/// Latencies in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<u32>);

impl Samples {
    /// Takes up more.
    pub(crate) fn extend(&mut self, more: &[u32]) {
        self.0.extend(more);
    }

    /// Takes up others.
    pub(crate) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The latency that `share` (0 to 1) of all do not exceed; zero of none.
    pub(crate) fn quantile(&mut self, share: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        let rank = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len()) - 1;
        let (_, value, _) = self.0.select_nth_unstable(rank);
        Duration::from_micros(u64::from(*value))
    }
}

/// The middle one of several figures, and the text of their range when there are several.
pub(crate) fn median(mut figures: Vec<f64>) -> (f64, String) {
    figures.sort_by(f64::total_cmp);
    let range = match figures.as_slice() {
        [first, .., last] => format!(" ({first:.2} … {last:.2})"),
        _ => String::new(),
    };
    (figures.get(figures.len() / 2).copied().unwrap_or_default(), range)
}

/// As milliseconds for people.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
