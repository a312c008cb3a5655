//! Clients that others have written, as their users use them. `tests/clients` has what they run.

mod browser;
mod programs;

use libtest_mimic::Trial;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    browser::trials().into_iter().chain(programs::trials()).collect()
}
