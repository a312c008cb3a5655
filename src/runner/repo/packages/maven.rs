//! Maven: projects that find one another by group and artifact, with what they inherit from their parents.

use std::collections::HashMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::{
    DependencyKind, Ecosystem,
    manifest::{Draft, Malformed, Manifest, Need, Place, Reader},
};

/// Elements of one file. More make it a [`Malformed`] one: no hand wrote it.
const MAX_NODES: u32 = 200_000;

/// Steps from project to parent, and from property to property. Longer ways are not followed; they may be circles.
const MAX_STEPS: usize = 20;

#[derive(Default)]
pub(super) struct Maven {
    projects: Vec<Project>,
}

/// A `pom.xml` as it is written.
struct Project {
    folder: String,
    manifest: String,
    artifact: String,
    group: Option<String>,
    version: Option<String>,
    /// Group, artifact, version.
    parent: Option<[String; 3]>,
    properties: HashMap<String, String>,
    /// Group, artifact.
    needs: Vec<([String; 2], DependencyKind)>,
}

impl Reader for Maven {
    fn read(&mut self, manifest: &Manifest<'_>) -> Result<(), Malformed> {
        let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(manifest.text, options)
            .map_err(|error| Malformed { line: Some(error.pos().row), message: "this is no valid XML" })?;
        let root = document.root_element();
        let missing = Malformed { line: None, message: "the project has no artifactId" };
        let artifact = text(root, "artifactId").ok_or(missing)?;
        let mut needs = Vec::new();
        let profiles = child(root, "profiles").into_iter().flat_map(|it| children(it, "profile"));
        for part in std::iter::once(root).chain(profiles) {
            collect(part, &mut needs);
        }
        let parent = child(root, "parent")
            .map(|it| ["groupId", "artifactId", "version"].map(|name| text(it, name).unwrap_or_default()));
        let properties =
            child(root, "properties").into_iter().flat_map(|it| it.children()).filter(Node::is_element);
        self.projects.push(Project {
            folder: manifest.folder().to_owned(),
            manifest: manifest.path.to_owned(),
            artifact,
            group: text(root, "groupId"),
            version: text(root, "version"),
            parent,
            properties: properties.map(|it| (it.tag_name().name().to_owned(), own_text(it))).collect(),
            needs,
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Vec<Draft> {
        let by_key: HashMap<String, &Project> = self.projects.iter().map(|it| (it.key(), it)).collect();
        self.projects.iter().map(|it| it.finish(&by_key)).collect()
    }
}

impl Project {
    fn key(&self) -> String {
        let inherited = self.parent.as_ref().map(|it| it[0].as_str());
        format!("{}:{}", self.group.as_deref().or(inherited).unwrap_or_default(), self.artifact)
    }

    fn finish(&self, by_key: &HashMap<String, &Project>) -> Draft {
        let name = self.filled(&self.key(), by_key);
        let need = |([group, artifact], kind): &([String; 2], DependencyKind)| Need {
            name: self.filled(&format!("{group}:{artifact}"), by_key),
            place: Place::Anywhere,
            kind: *kind,
        };
        let parent = self.parent.iter().map(|[group, artifact, _]| Need {
            name: format!("{group}:{artifact}"),
            place: Place::Anywhere,
            kind: DependencyKind::Parent,
        });
        let version =
            self.version.as_ref().or(self.parent.as_ref().map(|it| &it[2])).filter(|it| !it.is_empty());
        Draft {
            ecosystem: Ecosystem::Maven,
            name,
            folder: self.folder.clone(),
            manifest: self.manifest.clone(),
            version: version.map(|it| self.filled(it, by_key)),
            needs: self.needs.iter().map(need).chain(parent).collect(),
        }
    }

    /// The text with its `${…}` replaced, as far as their values are in the repository.
    fn filled(&self, text: &str, by_key: &HashMap<String, &Project>) -> String {
        let mut text = text.to_owned();
        for _ in 0..MAX_STEPS {
            let Some((before, rest)) = text.split_once("${") else { break };
            let Some((name, after)) = rest.split_once('}') else { break };
            let Some(value) = self.property(name, by_key) else { break };
            // A property that stands for itself many times over must not grow without end.
            if value.len() + text.len() > 10_000 {
                break;
            }
            text = format!("{before}{value}{after}");
        }
        text
    }

    fn property(&self, name: &str, by_key: &HashMap<String, &Project>) -> Option<String> {
        let parent = |place: usize| self.parent.as_ref().map(|it| it[place].clone());
        match name {
            "project.groupId" | "pom.groupId" | "groupId" => return self.group.clone().or(parent(0)),
            "project.artifactId" | "pom.artifactId" | "artifactId" => return Some(self.artifact.clone()),
            "project.version" | "pom.version" | "version" => return self.version.clone().or(parent(2)),
            "project.parent.groupId" => return parent(0),
            "project.parent.version" => return parent(2),
            _ => {}
        }
        let mut project = self;
        for _ in 0..MAX_STEPS {
            if let Some(value) = project.properties.get(name) {
                return Some(value.clone());
            }
            let [group, artifact, _] = project.parent.as_ref()?;
            project = by_key.get(&format!("{group}:{artifact}"))?;
        }
        None
    }
}

/// The dependencies and plugins of a project or profile. What is only managed is not needed.
fn collect(part: Node<'_, '_>, needs: &mut Vec<([String; 2], DependencyKind)>) {
    let list = |node: Option<Node<'_, '_>>,
                kind: Option<DependencyKind>,
                default_group: &str,
                needs: &mut Vec<_>| {
        for item in node.into_iter().flat_map(|it| it.children()).filter(Node::is_element) {
            let Some(artifact) = text(item, "artifactId") else { continue };
            let group = text(item, "groupId").unwrap_or_else(|| default_group.to_owned());
            let kind = kind.unwrap_or_else(|| match text(item, "scope").as_deref() {
                Some("test") => DependencyKind::Development,
                Some("provided") => DependencyKind::Build,
                _ if text(item, "optional").as_deref() == Some("true") => DependencyKind::Optional,
                _ => DependencyKind::Normal,
            });
            needs.push(([group, artifact], kind));
        }
    };
    list(child(part, "dependencies"), None, "", needs);
    let plugins = child(part, "build").and_then(|it| child(it, "plugins"));
    list(plugins, Some(DependencyKind::Build), "org.apache.maven.plugins", needs);
    for plugin in plugins.into_iter().flat_map(|it| children(it, "plugin")) {
        list(child(plugin, "dependencies"), Some(DependencyKind::Build), "", needs);
    }
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |it| it.is_element() && it.tag_name().name() == name)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn text(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    child(node, name).map(own_text).filter(|it| !it.is_empty())
}

fn own_text(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().trim().to_owned()
}
