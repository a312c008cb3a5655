//! What all tests are made of.

pub(crate) mod client;
pub(crate) mod curl;
pub(crate) mod cutter;
pub(crate) mod gateway;
#[allow(dead_code, reason = "each user takes what it needs")]
#[path = "../../../src/runner/repo/git/testing.rs"]
pub(crate) mod git;
pub(crate) mod http;
#[allow(dead_code, reason = "each user takes what it needs")]
#[path = "../../../src/api/serve/http2/testing.rs"]
pub(crate) mod http2;
pub(crate) mod openai_server;
pub(crate) mod ports;
pub(crate) mod proxy;
pub(crate) mod story;
pub(crate) mod tools;
pub(crate) mod websocket;

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Resource, getrlimit, setrlimit};

/// A test that runs longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Where and why this thread has panicked.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A test that panics when what it shows is not so.
pub(crate) fn trial<F>(name: impl Into<String>, scenario: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    patient_trial(name, PATIENCE, scenario)
}

/// A test that may take as long as `patience`.
pub(crate) fn patient_trial<F>(
    name: impl Into<String>,
    patience: Duration,
    scenario: impl FnOnce() -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = || runtime.block_on(async { tokio::time::timeout(patience, scenario()).await });
        let ended = panic::catch_unwind(AssertUnwindSafe(work));
        runtime.shutdown_background();
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(format!("did not end within {patience:?}").into()),
            Err(_) => Err(PANIC.take().map_or_else(Failed::without_message, Failed::from)),
        }
    })
}

/// Keeps what a panic says until its test is reported, so that tests that run side by side do not talk at once.
pub(crate) fn report_panics_with_their_test() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        PANIC.set(Some(info.to_string()));
    }));
}

/// The trial, skipped where a tool is missing.
pub(crate) fn needs(tools: &[tools::Tool], trial: Trial) -> Trial {
    match tools::missing(tools) {
        None => trial,
        Some(missing) => skip(trial, &missing),
    }
}

/// The same trial, reported as ignored together with what is missing.
pub(crate) fn skip(trial: Trial, missing: &str) -> Trial {
    trial.with_kind(format!("skipped: {missing}")).with_ignored_flag(true)
}

/// Lets this process and the gateways that it starts open as many files as the system allows.
pub(crate) fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}
