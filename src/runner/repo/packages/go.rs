//! Go: modules that require one another, with replacements of their own and of the workspace.

use std::collections::HashMap;

use super::{
    DependencyKind, Ecosystem,
    manifest::{Draft, Malformed, Manifest, Need, Place, Reader},
};

#[derive(Default)]
pub(super) struct Go {
    drafts: Vec<Draft>,
    /// The replacements of a workspace, by its folder.
    workspaces: HashMap<String, HashMap<String, Place>>,
}

impl Reader for Go {
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed> {
        let (directives, folder) = (directives(manifest.text)?, manifest.folder());
        let named = |wanted: &'static str| {
            directives.iter().filter(move |it| it.0 == wanted).map(|it| it.1.as_slice())
        };
        let replaced: HashMap<String, Place> =
            named("replace").filter_map(|words| replacement(words, folder)).collect();
        if manifest.name() == "go.work" {
            self.workspaces.insert(folder.to_owned(), replaced);
            return Ok(());
        }
        let name = named("module").find_map(|it| it.first().cloned());
        let name = name.ok_or(Malformed { line: None, message: "the module has no name" })?;
        let direct = named("require").filter(|it| !it.iter().any(|word| word == "indirect"));
        let needs = direct.filter_map(|it| it.first()).map(|name| Need {
            name: name.clone(),
            place: replaced.get(name).cloned().unwrap_or(Place::Anywhere),
            kind: DependencyKind::Normal,
        });
        self.drafts.push(Draft {
            ecosystem: Ecosystem::Go,
            name,
            folder: folder.to_owned(),
            manifest: manifest.path.to_owned(),
            version: None,
            needs: needs.collect(),
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<Draft> {
        let Self { mut drafts, workspaces } = *self;
        for draft in &mut drafts {
            let folder = draft.folder.clone();
            let Some(replaced) = super::cargo::ancestors(&folder).find_map(|it| workspaces.get(it)) else {
                continue;
            };
            for need in &mut draft.needs {
                if let Some(place) = replaced.get(&need.name) {
                    need.place = place.clone();
                }
            }
        }
        drafts
    }
}

/// `old [version] => new [version]`. A replacement by another module goes by that one's name, which is not followed.
fn replacement(words: &[String], folder: &str) -> Option<(String, Place)> {
    let arrow = words.iter().position(|it| it == "=>")?;
    let (old, new) = (words.first()?, words.get(arrow + 1)?);
    let local = new.starts_with("./") || new.starts_with("../") || new == "." || new == "..";
    Some((old.clone(), if local { Place::at(folder, new) } else { Place::Outside }))
}

/// The directives with their words, blocks in parentheses taken apart. A comment `// indirect` becomes a word.
fn directives(text: &str) -> Result<Vec<(String, Vec<String>)>, Malformed> {
    let mut found = Vec::new();
    let mut block: Option<(String, u32)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        let mut words: Vec<String> =
            code.split_whitespace().map(|it| it.trim_matches(['"', '`']).to_owned()).collect();
        if words.is_empty() {
            continue;
        }
        if comment.split([' ', ';', '\t']).any(|it| it == "indirect") {
            words.push("indirect".to_owned());
        }
        match &block {
            Some(_) if words[0] == ")" => block = None,
            Some((name, _)) => found.push((name.clone(), words)),
            None if words.get(1).is_some_and(|it| it == "(") => block = Some((words.swap_remove(0), number)),
            // `require(` without a space.
            None if words[0].ends_with('(') => {
                block = Some((words[0].trim_end_matches('(').to_owned(), number))
            }
            None if words[0].chars().all(|it| it.is_ascii_alphabetic()) => {
                found.push((words.remove(0), words))
            }
            None => {
                return Err(Malformed { line: Some(number), message: "this is no directive of a Go module" });
            }
        }
    }
    match block {
        Some((_, line)) => Err(Malformed { line: Some(line), message: "this parenthesis is never closed" }),
        None => Ok(found),
    }
}
