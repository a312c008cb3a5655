//! The command line.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its terminal")]

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use rungate::{
    app::{self, Ended},
    cli::{self, ClientCommand},
    config::{self, Config, Sources},
    runtime::telemetry,
};
use toml::Value;

/// Events are made by one thread and let go by another; the system's allocator takes a seventh of the processor for
/// that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The code for a wrong configuration: the same as for wrong usage.
const USAGE: u8 = 2;

/// A self-hosted run gateway: start long work, stream it to any number of watchers, resume anywhere.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway (the default).
    Serve(ServeArgs),
    #[command(flatten)]
    Client(ClientCommand),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where clients connect; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where orchestrators and operators connect.
    #[arg(long, value_name = "ADDR:PORT")]
    internal_listen: Option<SocketAddr>,
    /// Where run-time state is kept.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force and exit.
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => serve(cli.serve),
        Some(Command::Serve(args)) => serve(args),
        Some(Command::Client(command)) => ExitCode::from(cli::execute(command) as u8),
    }
}

fn serve(args: ServeArgs) -> ExitCode {
    let config = match config::load(args.sources()) {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &error),
    };
    if args.print_config {
        return print(&config);
    }
    if let Err(error) = telemetry::start(&config.log) {
        return fail(USAGE, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(app::serve(config)) {
        Ok(Ended::Asked) => ExitCode::SUCCESS,
        Ok(Ended::Broken) => ExitCode::FAILURE,
        Err(error) => fail(1, &error),
    }
}

fn print(config: &Config) -> ExitCode {
    match toml::to_string(config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprint!("rungate: {error}");
    let mut error = error;
    while let Some(source) = error.source() {
        eprint!(": {source}");
        error = source;
    }
    eprintln!();
    ExitCode::from(code)
}

impl ServeArgs {
    fn sources(&self) -> Sources {
        let listen = self.listen.map(|it| ("listen", Value::String(it.to_string())));
        let internal = self.internal_listen.map(|it| ("internal_listen", Value::String(it.to_string())));
        let data = self.data.as_ref().map(|it| ("data", Value::String(it.display().to_string())));
        Sources {
            file: self.config.clone(),
            environment: std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                // Names the gateway for the commands that talk to one; it is no setting of this one.
                .filter(|(key, _)| key != cli::GATEWAY_VARIABLE)
                .collect(),
            flags: listen.into_iter().chain(internal).chain(data).collect(),
        }
    }
}
