//! What is in a repository: languages, sizes, manifests, entry points, and what its README says.

mod collect;
mod landmarks;
mod languages;
mod readme;
mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use self::{landmarks::EntryPoint, readme::Readme};
use super::tree::RepoDir;

/// What was found. Its parts are bounded; where a bound was met, `truncated` says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Files that are not ignored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines of the files that are text in a known language.
    pub lines: u64,
    /// By bytes of code, then of other text; the largest first.
    pub languages: Vec<Language>,
    /// The folders at the top, the largest first.
    pub folders: Vec<Folder>,
    /// The largest files, the largest first.
    pub largest: Vec<LargeFile>,
    /// In the order of their paths.
    pub manifests: Vec<Manifest>,
    /// In the order of their paths.
    pub entry_points: Vec<EntryPoint>,
    /// The one at the top.
    pub readme: Option<Readme>,
    /// Those at the top.
    pub licenses: Vec<License>,
    /// Files of tests.
    pub test_files: u64,
    /// Files below `docs`.
    pub doc_files: u64,
    /// Configurations of services that build and test.
    pub ci: Vec<String>,
    /// What is not complete, and why.
    pub truncated: Vec<Truncation>,
}

/// The files in one language.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Language {
    /// Its usual name.
    pub name: String,
    /// True for what programs are made of, false for texts and data.
    pub code: bool,
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their lines.
    pub lines: u64,
}

/// A folder at the top, with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its name; empty for the files that are in no folder.
    pub name: String,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The language that most of its code is in; empty where there is none.
    pub language: String,
}

/// A file and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeFile {
    /// From the root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A file that tells a tool how to build or install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// From the root.
    pub path: String,
    /// The tool: `cargo`, `npm`, `docker` …
    pub kind: String,
}

/// A licence's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// From the root.
    pub path: String,
    /// Its usual short name; empty when it is not recognised.
    pub name: String,
}

/// What of a scan is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// There are more files than are looked at.
    Files,
    /// Some folders or files could not be read, or lie too deep.
    Unreadable,
    /// Of long files only the beginning was counted in lines.
    LinesOfLongFiles,
    /// Lines were counted until a bound of bytes was reached.
    Lines,
    /// More top folders.
    Folders,
    /// More manifests.
    Manifests,
    /// More entry points, or manifests too long to look for them.
    EntryPoints,
    /// More licences or configurations.
    Landmarks,
}

/// How far a scan is. How many files there will be is not known before the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Files seen.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why there is no scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// It was cancelled.
    #[error("the scan was cancelled")]
    Cancelled,
}

/// Looks at all files of a repository that are not ignored. `progress` hears of it every few hundred files and at the
/// end.
///
/// Blocks on the disk, for seconds where there are tens of thousands of files.
pub fn scan(
    dir: &RepoDir,
    progress: &mut dyn FnMut(ScanProgress),
    cancel: &CancellationToken,
) -> Result<Scan, ScanError> {
    collect::Collector::new(collect::Bounds::default()).run(dir, progress, cancel)
}

impl Scan {
    /// The code in each language, as shares in per cent of all code; only those of at least one.
    pub fn shares(&self) -> BTreeMap<&str, u64> {
        let code = || self.languages.iter().filter(|it| it.code);
        let total = code().map(|it| it.bytes).sum::<u64>().max(1);
        code().map(|it| (it.name.as_str(), it.bytes * 100 / total)).filter(|(_, share)| *share > 0).collect()
    }
}

impl ScanError {
    /// The code of the error that a client reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
        }
    }
}

impl Truncation {
    /// For a person.
    pub fn message(self) -> &'static str {
        match self {
            Self::Files => "there are more files than were looked at",
            Self::Unreadable => "some files or folders could not be read or lie too deep",
            Self::LinesOfLongFiles => "of long files only the beginning was counted in lines",
            Self::Lines => "lines were counted in a part of the files only",
            Self::Folders => "only the largest top folders are shown",
            Self::Manifests => "there are more manifests than are shown",
            Self::EntryPoints => "there are more entry points than are shown",
            Self::Landmarks => "there are more licences or build configurations than are shown",
        }
    }
}
