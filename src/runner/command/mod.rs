//! `command` workers: a user's own program in any language. It reads one line of JSON on standard input and writes
//! JSON lines on standard output; what it writes on standard error becomes LOG.

mod lines;
mod message;
mod process;
mod worker;

pub use worker::CommandWorker;
