//! The command line for people at a terminal: a client of a gateway like any other, over gRPC.
//!
//! - [`args`] says what can be typed.
//! - [`run`], [`watch`], [`runs`], [`workers`] and [`cancel`] are the commands.
//! - [`export`] reads the data folder of a gateway, without asking one.
//! - [`follow`] reads a run to its end, over cuts; [`resume`] has its rules.
//! - [`ask`] and [`interrupt`] are the person: answers and Ctrl-C.
//! - [`client`] is the gateway, [`failure`] why it did not help, [`session_file`] the session it remembers for us.
//! - [`render`] is what is seen.
//!
//! Standard output has what was asked for; notices and errors go to standard error.

mod args;
mod ask;
mod cancel;
mod client;
mod export;
mod failure;
mod follow;
mod gateway_url;
mod interrupt;
mod render;
mod resume;
mod run;
mod runs;
mod session_file;
mod watch;
mod workers;

pub use args::{ClientCommand, GATEWAY_VARIABLE};
use failure::Failure;

/// How a command ended, as the code that the process exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The run completed, or the command did what it was asked.
    Good = 0,
    /// The run failed, or the gateway did not do what it was asked or could not be reached.
    Failed = 1,
    /// Wrong usage: an argument, an unknown worker, anything the gateway calls an invalid argument.
    Usage = 2,
    /// The run was cancelled, or the person left.
    Cancelled = 130,
    /// Whoever read standard output has gone away; what a shell reports of a program that `SIGPIPE` ended.
    OutputClosed = 141,
}

/// Carries out a command. Runs its own event loop; called once, on the main thread.
pub fn execute(command: ClientCommand) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::Output(error)),
    };
    let ended = runtime.block_on(dispatch(command));
    // A thread that waits for a line on standard input cannot be stopped; the process does not wait for it.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit,
        Err(failure) => report(&failure),
    }
}

async fn dispatch(command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Run(args) => Box::pin(run::run(args)).await,
        ClientCommand::Watch(args) => Box::pin(watch::watch(args)).await,
        ClientCommand::Runs(args) => runs::runs(args).await,
        ClientCommand::Workers(args) => workers::workers(args).await,
        ClientCommand::Cancel(args) => cancel::cancel(args).await,
    }
}

fn report(failure: &Failure) -> Exit {
    let exit = failure.exit();
    if exit != Exit::OutputClosed {
        render::text::write_error(&format!("rungate: {failure}"));
    }
    exit
}
