//! Clients that others have written, as their users use them. `tests/clients` has what they run.

mod browser;
mod programs;

use libtest_mimic::Trial;

use crate::support::{
    skip,
    tools::{Tool, missing},
};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    browser::trials().into_iter().chain(programs::trials()).collect()
}

/// The trial, skipped where a tool is missing.
pub(crate) fn needs(tools: &[Tool], trial: Trial) -> Trial {
    match missing(tools) {
        None => trial,
        Some(missing) => skip(trial, &missing),
    }
}
