//! What the ecosystems have in common: a manifest that is read, and packages before their dependencies are found.

use super::{DependencyKind, Ecosystem};
use crate::runner::repo::tree::joined;

/// A manifest's text.
pub(super) struct Manifest<'a> {
    /// From the root.
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

/// A manifest that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Counted from 1.
    pub(super) line: Option<u32>,
    pub(super) message: &'static str,
}

/// A package whose dependencies are still names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) ecosystem: Ecosystem,
    pub(super) name: String,
    pub(super) folder: String,
    pub(super) manifest: String,
    pub(super) version: Option<String>,
    pub(super) needs: Vec<Need>,
}

/// A dependency before it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) kind: DependencyKind,
}

/// Where a dependency is to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In this folder of the repository.
    Folder(String),
    /// Anywhere in the repository, by its name.
    Anywhere,
    /// Not in the repository.
    Outside,
}

/// Reads the manifests of one ecosystem.
pub(super) trait Reader {
    /// Takes up a manifest. What it says may depend on others that come later.
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed>;

    /// The packages, once all manifests were read.
    fn finish(self: Box<Self>) -> Vec<Draft>;
}

impl Manifest<'_> {
    /// Its folder; empty for the root.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

impl Place {
    /// The folder `path` as seen from `folder`; outside when it leads out of the repository.
    pub(super) fn at(folder: &str, path: &str) -> Self {
        joined(folder, path).map_or(Self::Outside, Self::Folder)
    }
}

/// What a package without a name goes by.
pub(super) fn folder_name(folder: &str) -> String {
    match folder.rsplit('/').next() {
        None | Some("") => "root".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// The line in which the byte `at` of `text` is, counted from 1.
pub(super) fn line_at(text: &str, at: usize) -> u32 {
    text.bytes().take(at).filter(|it| *it == b'\n').count() as u32 + 1
}

/// Reads TOML.
pub(super) fn toml(text: &str) -> Result<toml::Table, Malformed> {
    text.parse().map_err(|error: toml::de::Error| Malformed {
        line: error.span().map(|it| line_at(text, it.start)),
        message: "this is no valid TOML",
    })
}

/// The table at a path of names, where there is one.
pub(super) fn table<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Table> {
    path.iter().try_fold(table, |table, name| table.get(*name)?.as_table())
}

/// The text at a path of names, where there is one.
pub(super) fn text<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a str> {
    let (last, folders) = path.split_last()?;
    self::table(table, folders)?.get(*last)?.as_str()
}
