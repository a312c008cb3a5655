//! One clock for all processes of a measurement.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some moment that is the same for every process of the machine.
pub(crate) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
