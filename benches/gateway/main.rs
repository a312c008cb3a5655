//! Measures the gateway as its users meet it: the release binary, a process of its own, real sockets. Prints a table
//! with a floor for each row, which is what the least program for the same work takes in the same run.
//!
//! `docs/performance.md` tells how to run it and what it has found.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark fails by panicking"
)]

mod client;
mod clock;
mod floor;
mod gateway;
mod lend;
mod load;
mod machine;
mod options;
mod pace;
mod payload;
mod process;
mod rows;
mod samples;
mod table;

use std::{path::Path, process::ExitCode};

use options::Options;
use table::Table;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let worked = match words.as_slice() {
        [lend::ROLE, socket] => lend::work(Path::new(socket)),
        [floor::fan_out::ROLE, count, bytes] => {
            floor::fan_out::work(count.parse().unwrap(), bytes.parse().unwrap())
        }
        [floor::append::ROLE, file, writers, records] => {
            floor::append::work(Path::new(file), writers.parse().unwrap(), records.parse().unwrap())
        }
        _ => return measure(arguments),
    };
    if let Err(error) = worked {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure(arguments: Vec<String>) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    println!("{}", machine::facts());
    println!("gateway: {}, {} files", options.binary.display(), process::raise_files());
    process::pin(options.load_core());
    // One thread: the watchers share a buffer, and the other core is the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut table = Table::default();
    runtime.block_on(rows::measure(&options, &mut table));
    println!("\n{}", table.markdown());
    ExitCode::SUCCESS
}
