//! The packages inside a repository, and who depends on whom.

mod cargo;
mod collect;
mod cycles;
mod go;
mod manifest;
mod maven;
mod npm;
mod python;
mod resolve;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::tree::RepoDir;

/// What was found. Everything is in a fixed order, so that the same repository gives the same graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageGraph {
    /// At most 5,000; see `truncated`.
    pub packages: Vec<Package>,
    /// Between uids of `packages`.
    pub dependencies: Vec<Dependency>,
    /// Groups of packages that depend on one another in a circle.
    pub cycles: Vec<Cycle>,
    /// Manifests that could not be read. Their packages are missing or incomplete. At most 200.
    pub problems: Vec<Problem>,
    /// True when a bound was met, so that packages, dependencies or problems are missing.
    pub truncated: bool,
}

/// A package: what one manifest makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// `<ecosystem>:<name>`, with `@<path>` where the name occurs more than once.
    pub uid: String,
    /// Who builds it.
    pub ecosystem: Ecosystem,
    /// Its name in the ecosystem; of Python the normalised one, of Maven `group:artifact`.
    pub name: String,
    /// Its folder, from the root; empty for the root itself.
    pub path: String,
    /// The manifest it was read from.
    pub manifest: String,
    /// As it is written.
    pub version: Option<String>,
    /// How many packages from outside of the repository it names.
    pub external: u32,
}

/// One package needs another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The uid of the one that needs.
    pub from: String,
    /// The uid of the one that is needed.
    pub to: String,
    /// What for; in order, each once.
    pub kinds: Vec<DependencyKind>,
}

/// What one package needs another for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyKind {
    /// To run.
    Normal,
    /// To run, where there is one.
    Optional,
    /// To be put beside it by who uses it.
    Peer,
    /// To be built.
    Build,
    /// To take over settings from.
    Parent,
    /// To be tested or worked on.
    Development,
}

/// Packages that depend on one another in a circle, or one that depends on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Their uids, in order.
    pub packages: Vec<String>,
    /// True when there is no circle without what is needed for development only: tools allow such ones.
    pub development: bool,
}

/// A manifest that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The manifest.
    pub path: String,
    /// Counted from 1, where it is known.
    pub line: Option<u32>,
    /// For people.
    pub message: String,
}

/// Who builds a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ecosystem {
    /// Rust.
    Cargo,
    /// JavaScript and TypeScript.
    Npm,
    /// Go modules.
    Go,
    /// Python.
    Python,
    /// Java and its relatives.
    Maven,
}

/// How far the search is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackageProgress {
    /// Files seen.
    pub files: u64,
    /// Manifests read.
    pub manifests: u64,
}

/// Why there is no graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// It was cancelled.
    #[error("the search for packages was cancelled")]
    Cancelled,
}

/// Reads all manifests that are not ignored. `progress` hears of it every few hundred files and at the end.
///
/// Blocks on the disk.
pub fn package_graph(
    dir: &RepoDir,
    progress: &mut dyn FnMut(PackageProgress),
    cancel: &CancellationToken,
) -> Result<PackageGraph, PackageError> {
    let found = collect::collect(dir, progress, cancel)?;
    Ok(resolve::resolve(found))
}

impl Ecosystem {
    /// As it stands in uids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Go => "go",
            Self::Python => "python",
            Self::Maven => "maven",
        }
    }
}

impl PackageError {
    /// The code of the error that a client reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
        }
    }
}
