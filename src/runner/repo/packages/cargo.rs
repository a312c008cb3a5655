//! Cargo: packages, workspaces, path dependencies under any name.

use std::collections::HashMap;

use toml::{Table, Value};

use super::{
    DependencyKind, Ecosystem,
    manifest::{Draft, Malformed, Manifest, Need, Place, Reader, table, text, toml},
};

/// The tables of dependencies, under today's names and those of old.
const TABLES: [(&str, DependencyKind); 5] = [
    ("dependencies", DependencyKind::Normal),
    ("dev-dependencies", DependencyKind::Development),
    ("dev_dependencies", DependencyKind::Development),
    ("build-dependencies", DependencyKind::Build),
    ("build_dependencies", DependencyKind::Build),
];

#[derive(Default)]
pub(super) struct Cargo {
    drafts: Vec<CargoDraft>,
    workspaces: HashMap<String, Workspace>,
}

struct CargoDraft {
    draft: Draft,
    /// Where the package says its workspace is.
    workspace: Option<String>,
    /// Names under which dependencies are taken over from the workspace.
    inherited: Vec<(String, DependencyKind)>,
    inherits_version: bool,
}

#[derive(Default)]
struct Workspace {
    dependencies: HashMap<String, (String, Place)>,
    patches: HashMap<String, Place>,
    version: Option<String>,
}

impl Reader for Cargo {
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed> {
        let (toml, folder) = (toml(manifest.text)?, manifest.folder());
        let is_root = toml.contains_key("workspace");
        if is_root || toml.contains_key("patch") {
            self.workspaces.insert(folder.to_owned(), workspace(&toml, folder));
        }
        let Some(package) = table(&toml, &["package"]).or_else(|| table(&toml, &["project"])) else {
            let message = "neither a package nor a workspace";
            return if is_root { Ok(()) } else { Err(Malformed { line: None, message }) };
        };
        let name =
            text(package, &["name"]).ok_or(Malformed { line: None, message: "the package has no name" })?;
        let mut draft = CargoDraft {
            draft: Draft {
                ecosystem: Ecosystem::Cargo,
                name: name.to_owned(),
                folder: folder.to_owned(),
                manifest: manifest.path.to_owned(),
                version: text(package, &["version"]).map(str::to_owned),
                needs: Vec::new(),
            },
            workspace: text(package, &["workspace"]).and_then(|it| match Place::at(folder, it) {
                Place::Folder(folder) => Some(folder),
                _ => None,
            }),
            inherited: Vec::new(),
            inherits_version: package.get("version").is_some_and(Value::is_table),
        };
        let targets = table(&toml, &["target"]).into_iter().flatten().filter_map(|(_, it)| it.as_table());
        for tables in std::iter::once(&toml).chain(targets) {
            for (name, kind) in TABLES {
                draft.take(table(tables, &[name]).into_iter().flatten(), kind);
            }
        }
        self.drafts.push(draft);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<Draft> {
        let Self { drafts, workspaces } = *self;
        drafts.into_iter().map(|it| it.finish(&workspaces)).collect()
    }
}

impl CargoDraft {
    fn take<'a>(&mut self, entries: impl Iterator<Item = (&'a String, &'a Value)>, kind: DependencyKind) {
        for (name, value) in entries {
            if value.get("workspace").and_then(Value::as_bool) == Some(true) {
                self.inherited.push((name.clone(), kind));
                continue;
            }
            let (name, place) = dependency(name, value, &self.draft.folder);
            self.draft.needs.push(Need { name, place, kind });
        }
    }

    fn finish(self, workspaces: &HashMap<String, Workspace>) -> Draft {
        let mut draft = self.draft;
        let own = self.workspace.unwrap_or_else(|| draft.folder.clone());
        let workspace = ancestors(&own).find_map(|it| workspaces.get(it));
        for (name, kind) in self.inherited {
            let found = workspace.and_then(|it| it.dependencies.get(&name)).cloned();
            let (name, place) = found.unwrap_or((name, Place::Outside));
            draft.needs.push(Need { name, place, kind });
        }
        if let Some(workspace) = workspace {
            for need in draft.needs.iter_mut().filter(|it| it.place == Place::Outside) {
                if let Some(place) = workspace.patches.get(&need.name) {
                    need.place = place.clone();
                }
            }
            if self.inherits_version {
                draft.version.clone_from(&workspace.version);
            }
        }
        draft
    }
}

fn workspace(toml: &Table, folder: &str) -> Workspace {
    let entries =
        |path: &[&str]| table(toml, path).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
    let dependencies = entries(&["workspace", "dependencies"]);
    let sources = table(toml, &["patch"]).into_iter().flatten().filter_map(|(_, it)| it.as_table());
    Workspace {
        dependencies: dependencies
            .map(|(name, value)| (name.clone(), dependency(&name, &value, folder)))
            .collect(),
        patches: sources.flatten().map(|(name, value)| dependency(name, value, folder)).collect(),
        version: text(toml, &["workspace", "package", "version"]).map(str::to_owned),
    }
}

/// The real name of a dependency, and where it is: in a folder, or elsewhere. Cargo never takes a package of the same
/// name from the folder next door unless it is told to.
fn dependency(name: &str, value: &Value, folder: &str) -> (String, Place) {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let place = text("path").map_or(Place::Outside, |path| Place::at(folder, path));
    (text("package").unwrap_or(name).to_owned(), place)
}

/// The folder, the one around it, and so on to the root.
pub(super) fn ancestors(folder: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(folder), |it| match it.rsplit_once('/') {
        Some((around, _)) => Some(around),
        None => (!it.is_empty()).then_some(""),
    })
}
