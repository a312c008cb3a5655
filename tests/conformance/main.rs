//! The public ConnectRPC conformance suite against the layers that serve the gateway's own services.
//!
//! Cargo runs this program as a test. It then runs `connectconformance`, the suite's runner, which starts this
//! program again, once for each server configuration, as the server under test: see [`server`].

#![allow(clippy::print_stdout, reason = "a test program tells on standard output")]

mod messages;
mod runner;
mod server;
mod service;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// Set in the environment of the program when it is the server under test.
const SERVER: &str = "RUNGATE_CONFORMANCE_SERVER";

fn main() -> ExitCode {
    if std::env::var_os(SERVER).is_some() {
        server::run();
        return ExitCode::SUCCESS;
    }
    let every_server_case = Trial::ignorable_test("conformance::every_server_case", || {
        let Some(runner) = runner::Runner::find()? else {
            return Ok(Completion::ignored_with("connectconformance needs Go, which is not installed"));
        };
        let summary = runner.run()?;
        println!("{summary}");
        Ok(Completion::Completed)
    });
    libtest_mimic::run(&Arguments::from_args(), vec![every_server_case]).exit_code()
}
