//! Repositories: which may be named, how they are fetched, and what is read in them.

pub mod address;
mod addresses;
pub mod fingerprint;
pub mod git;
pub mod mention;
pub mod open;
pub mod packages;
pub mod policy;
pub mod scan;
pub mod tree;
pub mod walk;
