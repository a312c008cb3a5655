//! A scan as a picture: the repository, its top folders, and the languages they are written in.

use std::collections::BTreeSet;

use super::{Folder, Language, Scan};
use crate::model::{ClientView, Graph, GraphEdge, GraphNode};

/// Folders and languages that are drawn. More would make a picture that nobody reads; the numbers are in the scan.
const DRAWN_FOLDERS: usize = 15;
const DRAWN_LANGUAGES: usize = 10;

/// The node of the repository itself.
const ROOT: &str = "repository";

impl Scan {
    /// The picture, for a repository that is called `name`.
    pub fn view(&self, name: &str) -> ClientView {
        let mut graph = Graph::default();
        graph.nodes.push(GraphNode::new(
            ROOT,
            if name.is_empty() { ROOT } else { name },
            &self.description(),
        ));
        let languages: Vec<&Language> =
            self.languages.iter().filter(|it| it.code).take(DRAWN_LANGUAGES).collect();
        let mut written_in = BTreeSet::new();
        for folder in self.folders.iter().filter(|it| !it.name.is_empty()).take(DRAWN_FOLDERS) {
            let uid = format!("folder:{}", folder.name);
            graph.nodes.push(folder.node(&uid));
            graph.edges.push(GraphEdge::new(ROOT, &uid));
            if languages.iter().any(|it| it.name == folder.language) {
                graph.edges.push(GraphEdge::new(&uid, &language_uid(&folder.language)));
                written_in.insert(folder.language.as_str());
            }
        }
        let shares = self.shares();
        for language in languages {
            let uid = language_uid(&language.name);
            let share = shares.get(language.name.as_str()).copied().unwrap_or(0);
            let text = format!(
                "{share}% of the code: {} files, {} lines, {}",
                language.files,
                language.lines,
                human_bytes(language.bytes)
            );
            graph.nodes.push(GraphNode::new(&uid, &language.name, &text));
            if !written_in.contains(language.name.as_str()) {
                graph.edges.push(GraphEdge::new(ROOT, &uid));
            }
        }
        ClientView::graph("repo_scan", graph)
    }

    fn description(&self) -> String {
        let mut text = format!("{} files, {} lines, {}", self.files, self.lines, human_bytes(self.bytes));
        if let Some(readme) = self.readme.as_ref().filter(|it| !it.summary.is_empty()) {
            text = format!("{}\n{text}", readme.summary);
        }
        for bound in &self.truncated {
            text = format!("{text}\n{}", bound.message());
        }
        text
    }
}

impl Folder {
    fn node(&self, uid: &str) -> GraphNode {
        let mut text = format!("{} files, {}", self.files, human_bytes(self.bytes));
        if !self.language.is_empty() {
            text = format!("{text}, mostly {}", self.language);
        }
        GraphNode::new(uid, &format!("{}/", self.name), &text)
    }
}

fn language_uid(name: &str) -> String {
    format!("language:{name}")
}

/// Bytes as people read them.
fn human_bytes(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let step = (bytes.max(1).ilog2() / 10).min(4);
    if step == 0 {
        return format!("{bytes} bytes");
    }
    format!("{:.1} {}", bytes as f64 / f64::from(1 << 10_u32).powi(step as i32), units[step as usize])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{UidGenerator, ViewContent};

    #[test]
    fn the_picture_is_connected_and_its_uids_are_stable() {
        let language =
            |name: &str, code| Language { name: name.into(), code, bytes: 3, ..Language::default() };
        let folder = |name: &str, language: &str| Folder {
            name: name.into(),
            language: language.into(),
            ..Folder::default()
        };
        let scan = Scan {
            languages: vec![language("C", true), language("C++", true), language("Markdown", false)],
            folders: vec![folder("src", "C"), folder("docs", ""), folder("", "C++")],
            ..Scan::default()
        };
        let mut view = scan.view("thing");
        UidGenerator::default().rewrite(&mut view);
        assert_eq!(view.phase, "repo_scan");
        let Some(ViewContent::Graph(graph)) = &view.content else { panic!("a graph") };
        let uids: BTreeSet<&str> = graph.nodes.iter().map(|it| it.uid.as_str()).collect();
        assert_eq!((uids.len(), graph.nodes.len(), graph.edges.len()), (5, 5, 4));
        assert!(
            graph.edges.iter().all(|it| uids.contains(it.from.as_str()) && uids.contains(it.to.as_str()))
        );
        let mut again = scan.view("thing");
        UidGenerator::default().rewrite(&mut again);
        assert_eq!(view, again);
    }

    #[test]
    fn bytes_are_readable() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
