//! `GET /ws`: the messages, the order in which they come, and how sockets end.

mod answers;
mod document;
mod ends;
mod hello;
mod invalid;
mod runs;
mod slow;
mod turns;
mod upgrade;

use libtest_mimic::Trial;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        answers::trials(),
        document::trials(),
        ends::trials(),
        hello::trials(),
        invalid::trials(),
        runs::trials(),
        slow::trials(),
        turns::trials(),
        upgrade::trials(),
    ];
    trials.into_iter().flatten().collect()
}
