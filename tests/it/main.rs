//! The real binary and real clients, over real sockets.
//!
//! Every test has a name and an end: one that hangs fails. A test whose tool is not installed is reported as ignored
//! together with the reason; `tests/setup` installs the tools.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says why")]

mod answers;
mod cli;
mod clients;
mod command;
mod conformance;
mod console;
mod conversation;
mod crash;
mod cut;
mod damage;
mod examples;
mod hostile;
mod http;
mod killed;
mod lifecycle;
mod mcp;
mod orchestrator;
mod proxies;
mod recovery;
mod repositories;
mod support;
mod websocket;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Tests at a time. They wait more than they work, so there are more than processors.
const THREADS: usize = 16;

fn main() -> ExitCode {
    support::allow_many_files();
    support::report_panics_with_their_test();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let trials = [
        answers::trials(),
        cli::trials(),
        clients::trials(),
        command::trials(),
        conformance::trials(),
        console::trials(),
        conversation::trials(),
        crash::trials(),
        cut::trials(),
        damage::trials(),
        examples::trials(),
        hostile::trials(),
        http::trials(),
        killed::trials(),
        lifecycle::trials(),
        mcp::trials(),
        orchestrator::trials(),
        proxies::trials(),
        recovery::trials(),
        repositories::trials(),
        websocket::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    support::gateway::end_shared(conclusion.has_failed());
    console::end_shared(conclusion.has_failed());
    conclusion.exit_code()
}
