//! npm and its relatives: packages that find one another by name within a repository.

use serde_json::{Map, Value};

use super::{
    DependencyKind, Ecosystem,
    manifest::{Draft, Malformed, Manifest, Need, Place, Reader, folder_name},
};

const TABLES: [(&str, DependencyKind); 4] = [
    ("dependencies", DependencyKind::Normal),
    ("optionalDependencies", DependencyKind::Optional),
    ("peerDependencies", DependencyKind::Peer),
    ("devDependencies", DependencyKind::Development),
];

#[derive(Default)]
pub(super) struct Npm {
    drafts: Vec<Draft>,
}

impl Reader for Npm {
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed> {
        let value: Value = serde_json::from_str(manifest.text).map_err(|error| Malformed {
            line: u32::try_from(error.line()).ok(),
            message: "this is no valid JSON",
        })?;
        let Value::Object(json) = value else {
            return Err(Malformed { line: Some(1), message: "this is no JSON object" });
        };
        let folder = manifest.folder();
        let tables = TABLES.iter().filter_map(|(name, kind)| Some((json.get(*name)?.as_object()?, *kind)));
        let needs: Vec<Need> = tables.flat_map(|(table, kind)| needs(table, kind, folder)).collect();
        let name = json.get("name").and_then(Value::as_str).filter(|it| !it.is_empty());
        // Some manifests only say how the files around them are to be read.
        if name.is_none() && needs.is_empty() && !json.contains_key("workspaces") {
            return Ok(());
        }
        self.drafts.push(Draft {
            ecosystem: Ecosystem::Npm,
            name: name.map_or_else(|| folder_name(folder), str::to_owned),
            folder: folder.to_owned(),
            manifest: manifest.path.to_owned(),
            version: json.get("version").and_then(Value::as_str).map(str::to_owned),
            needs,
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<Draft> {
        self.drafts
    }
}

fn needs(table: &Map<String, Value>, kind: DependencyKind, folder: &str) -> impl Iterator<Item = Need> {
    table.iter().map(move |(name, wanted)| {
        let (name, place) = place(name, wanted.as_str().unwrap_or_default(), folder);
        Need { name, place, kind }
    })
}

fn place(name: &str, wanted: &str, folder: &str) -> (String, Place) {
    for prefix in ["file:", "link:", "portal:"] {
        if let Some(path) = wanted.strip_prefix(prefix) {
            return (name.to_owned(), Place::at(folder, path));
        }
    }
    if let Some(path) = wanted.strip_prefix("workspace:").filter(|it| it.starts_with('.')) {
        return (name.to_owned(), Place::at(folder, path));
    }
    // `npm:real@^1` and `workspace:real@*` give a package another name.
    let alias = ["npm:", "workspace:"].iter().find_map(|it| wanted.strip_prefix(it));
    if let Some((real, _)) = alias.and_then(|it| it.rsplit_once('@')).filter(|(real, _)| !real.is_empty()) {
        return (real.to_owned(), Place::Anywhere);
    }
    let remote = wanted.contains("://")
        || ["git", "github:", "gitlab:", "bitbucket:"].iter().any(|it| wanted.starts_with(it));
    (name.to_owned(), if remote { Place::Outside } else { Place::Anywhere })
}
