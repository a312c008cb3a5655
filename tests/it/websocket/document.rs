//! Placeholder.
use libtest_mimic::Trial;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    Vec::new()
}
