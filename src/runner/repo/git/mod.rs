//! Fetches repositories by the `git` program, with everything in it switched off that runs programs, asks people, or
//! goes elsewhere than told.

mod clone;
mod command;
mod error;
mod group;
mod stderr;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub use clone::{CloneLimits, CloneSource, Git};
pub use error::CloneError;
pub use stderr::{ClonePhase, CloneProgress};
