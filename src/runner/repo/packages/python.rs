//! Python: one package for each folder, whatever of `pyproject.toml`, `setup.cfg`, `setup.py` and `requirements.txt`
//! describes it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{
    DependencyKind, Ecosystem,
    manifest::{Draft, Malformed, Manifest, Need, Place, Reader, folder_name, table, text, toml},
};

#[derive(Default)]
pub(super) struct Python {
    folders: BTreeMap<String, Folder>,
}

/// What the manifests of one folder say together.
#[derive(Default)]
struct Folder {
    name: Option<String>,
    version: Option<String>,
    manifest: String,
    needs: Vec<Need>,
    /// Where the package managers that know of workspaces look for a name.
    sources: BTreeMap<String, Place>,
}

impl Reader for Python {
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed> {
        let path = manifest.folder();
        let toml = if manifest.name() == "pyproject.toml" { Some(toml(manifest.text)?) } else { None };
        let folder = self.folders.entry(path.to_owned()).or_default();
        // Manifests come in the order of their names; the first that describes the package is its manifest.
        if folder.manifest.is_empty() || (folder.name.is_none() && !manifest.name().contains("requirements"))
        {
            folder.manifest = manifest.path.to_owned();
        }
        match (manifest.name(), toml) {
            (_, Some(toml)) => folder.pyproject(&toml, path),
            ("setup.cfg", _) => folder.setup_cfg(manifest.text, path),
            ("setup.py", _) => folder.setup_py(manifest.text, path),
            ("requirements.txt", _) => folder.requirements(manifest.text, DependencyKind::Normal, path),
            _ => folder.requirements(manifest.text, DependencyKind::Development, path),
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<Draft> {
        let described = self.folders.into_iter().filter(|(_, it)| it.name.is_some() || !it.needs.is_empty());
        described.map(|(path, it)| it.finish(path)).collect()
    }
}

impl Folder {
    fn finish(self, path: String) -> Draft {
        let mut needs = self.needs;
        for need in needs.iter_mut().filter(|it| it.place == Place::Anywhere) {
            if let Some(place) = self.sources.get(&need.name) {
                need.place = place.clone();
            }
        }
        let name = self.name.unwrap_or_else(|| folder_name(&path));
        Draft {
            ecosystem: Ecosystem::Python,
            name: normalized(&name),
            folder: path,
            manifest: self.manifest,
            version: self.version,
            needs,
        }
    }

    fn pyproject(&mut self, toml: &Table, folder: &str) {
        let project = |name| text(toml, &["project", name]).or_else(|| text(toml, &["tool", "poetry", name]));
        self.describe(project("name"), project("version"));
        let lists = |path: &[&str]| -> Vec<Value> {
            table(toml, path).into_iter().flatten().map(|it| it.1.clone()).collect()
        };
        let normal = table(toml, &["project"]).and_then(|it| it.get("dependencies")).cloned();
        let build = table(toml, &["build-system"]).and_then(|it| it.get("requires")).cloned();
        let groups = [
            (normal.into_iter().collect(), DependencyKind::Normal),
            (lists(&["project", "optional-dependencies"]), DependencyKind::Optional),
            (lists(&["dependency-groups"]), DependencyKind::Development),
            (build.into_iter().collect(), DependencyKind::Build),
        ];
        for (lists, kind) in groups {
            let texts = lists.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
            self.needs.extend(texts.filter_map(|it| requirement(it, kind, folder)));
        }
        self.poetry(table(toml, &["tool", "poetry", "dependencies"]), DependencyKind::Normal, folder);
        self.poetry(
            table(toml, &["tool", "poetry", "dev-dependencies"]),
            DependencyKind::Development,
            folder,
        );
        for (_, group) in table(toml, &["tool", "poetry", "group"]).into_iter().flatten() {
            self.poetry(
                group.get("dependencies").and_then(Value::as_table),
                DependencyKind::Development,
                folder,
            );
        }
        for (name, source) in table(toml, &["tool", "uv", "sources"]).into_iter().flatten() {
            let place = match source.get("path").and_then(Value::as_str) {
                Some(path) => Place::at(folder, path),
                None if source.get("workspace").is_some() => Place::Anywhere,
                None => Place::Outside,
            };
            self.sources.insert(normalized(name), place);
        }
    }

    fn poetry(&mut self, table: Option<&Table>, kind: DependencyKind, folder: &str) {
        for (name, value) in table.into_iter().flatten().filter(|(name, _)| *name != "python") {
            let has = |key: &str| value.get(key).and_then(Value::as_str);
            let place = match has("path") {
                Some(path) => Place::at(folder, path),
                None if has("git").or(has("url")).is_some() => Place::Outside,
                None => Place::Anywhere,
            };
            self.needs.push(Need { name: normalized(name), place, kind });
        }
    }

    fn setup_cfg(&mut self, text: &str, folder: &str) {
        let (mut section, mut key) = (String::new(), String::new());
        for line in text.lines() {
            let bare = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = bare.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                (section, key) = (name.trim().to_owned(), String::new());
                continue;
            }
            let value = match bare.split_once('=') {
                // A line that is set in continues the one before.
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    key = name.trim().to_owned();
                    value.trim()
                }
                _ => bare,
            };
            let kind = match (section.as_str(), key.as_str()) {
                ("metadata", "name") => {
                    self.describe(Some(value), None);
                    continue;
                }
                ("metadata", "version") => {
                    self.describe(None, Some(value).filter(|it| !it.contains(':')));
                    continue;
                }
                ("options", "install_requires") => DependencyKind::Normal,
                ("options", "setup_requires") => DependencyKind::Build,
                ("options", "tests_require") => DependencyKind::Development,
                ("options.extras_require", _) => DependencyKind::Optional,
                _ => continue,
            };
            self.needs.extend(value.split(',').filter_map(|it| requirement(it, kind, folder)));
        }
    }

    /// A program, which is not run: what stands in it as plain text is taken.
    fn setup_py(&mut self, text: &str, folder: &str) {
        let argument = |name: &str| {
            text.match_indices(name).find_map(|(at, _)| {
                let apart = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
                let rest = text[at + name.len()..].trim_start().strip_prefix('=')?;
                (apart && !rest.starts_with('=')).then(|| rest.trim_start())
            })
        };
        let quoted = |it: &str| {
            strings(it).next().filter(|found| it.get(1..).is_some_and(|it| it.starts_with(found.as_str())))
        };
        self.describe(
            argument("name").and_then(quoted).as_deref(),
            argument("version").and_then(quoted).as_deref(),
        );
        let lists =
            [("install_requires", DependencyKind::Normal), ("tests_require", DependencyKind::Development)];
        for (name, kind) in lists {
            let list = argument(name).and_then(|it| it.strip_prefix('['));
            let list = list.and_then(|it| {
                it.split_once("]\n").or_else(|| it.split_once("],")).or_else(|| it.split_once(']'))
            });
            let texts = list.into_iter().flat_map(|(list, _)| strings(list));
            self.needs.extend(texts.filter_map(|it| requirement(&it, kind, folder)));
        }
    }

    fn requirements(&mut self, text: &str, kind: DependencyKind, folder: &str) {
        for line in text.lines() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let editable = ["-e ", "--editable ", "--editable="].iter().find_map(|it| line.strip_prefix(it));
            if line.starts_with('#') || (line.starts_with('-') && editable.is_none()) {
                continue;
            }
            self.needs.extend(requirement(editable.unwrap_or(line).trim(), kind, folder));
        }
    }

    fn describe(&mut self, name: Option<&str>, version: Option<&str>) {
        let fill = |own: &mut Option<String>, new: Option<&str>| {
            if own.is_none() {
                *own = new.map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
            }
        };
        fill(&mut self.name, name);
        fill(&mut self.version, version);
    }
}

/// Reads `name[extra]>=1; marker`, `name @ url`, or a path.
fn requirement(text: &str, kind: DependencyKind, folder: &str) -> Option<Need> {
    let text = text.trim();
    let path = |it: &str| {
        let it = it.strip_prefix("file:").map_or(it, |it| it.strip_prefix("//").unwrap_or(it));
        let local = it == "." || it.starts_with("./") || it.starts_with("../");
        local.then(|| it.split(['[', ';', '#']).next().unwrap_or(it).trim().to_owned())
    };
    if let Some(path) = path(text) {
        return Some(Need { name: path.clone(), place: Place::at(folder, &path), kind });
    }
    if text.contains("://") && !text.contains('@') {
        return Some(Need { name: text.to_owned(), place: Place::Outside, kind });
    }
    let name: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
    let rest = text[name.len()..].trim_start();
    let rest =
        rest.strip_prefix('[').and_then(|it| it.split_once(']')).map_or(rest, |(_, rest)| rest.trim_start());
    let place = match rest.strip_prefix('@') {
        Some(url) => path(url.trim()).map_or(Place::Outside, |it| Place::at(folder, &it)),
        None => Place::Anywhere,
    };
    // The name must begin and end as names do; otherwise this is an option or a template.
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !rest.starts_with(['{', '$', '/', ':', '+']);
    is_name.then(|| Need { name: normalized(&name), place, kind })
}

/// The name by which packages are compared (PEP 503).
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|it| !it.is_empty());
    parts.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// The quoted texts of a piece of program.
fn strings(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(['"', '\''])?;
        let quote = rest[start..].chars().next()?;
        let inside = &rest[start + 1..];
        let end = inside.find(quote)?;
        rest = &inside[end + 1..];
        Some(inside[..end].to_owned())
    })
}
