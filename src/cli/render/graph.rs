//! A graph view as a small tree: nodes below the node that contains them, each with the nodes it follows.

use std::collections::{BTreeMap, BTreeSet};

use super::text;
use crate::wire::v1;

/// Nodes that are drawn; of the others only the number is told.
const DRAWN: usize = 200;

/// Characters of a node's description.
const DESCRIPTION_CHARS: usize = 60;

/// Draws the graph; the first line counts its nodes and edges.
pub(super) fn lines(graph: &v1::GraphView) -> Vec<String> {
    if graph.nodes.is_empty() {
        return Vec::new();
    }
    let (nodes, edges) = (graph.nodes.len(), graph.edges.len());
    let head = format!("{}, {}", counted(nodes, "node"), counted(edges, "edge"));
    let mut drawing = Drawing::new(graph);
    drawing.lines.push(head);
    drawing.level("", "");
    // A node whose containers contain each other is below nothing; it is drawn at the top.
    let left: Vec<_> = graph.nodes.iter().filter(|it| !drawing.done.contains(it.uid.as_str())).collect();
    for node in left {
        if !drawing.done.contains(node.uid.as_str()) {
            drawing.node(node, "", true);
        }
    }
    if nodes > DRAWN {
        drawing.lines.push(format!("… and {} more", nodes - DRAWN));
    }
    drawing.lines
}

struct Drawing<'a> {
    children: BTreeMap<&'a str, Vec<&'a v1::GraphNode>>,
    labels: BTreeMap<&'a str, &'a str>,
    before: BTreeMap<&'a str, Vec<&'a str>>,
    width: usize,
    done: BTreeSet<&'a str>,
    lines: Vec<String>,
}

impl<'a> Drawing<'a> {
    fn new(graph: &'a v1::GraphView) -> Self {
        let labels: BTreeMap<_, _> = graph.nodes.iter().map(|it| (it.uid.as_str(), label(it))).collect();
        let mut children: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for node in &graph.nodes {
            // A container that is not in the graph is as good as none.
            let parent = Some(node.parent_uid.as_str()).filter(|it| labels.contains_key(it));
            children.entry(parent.unwrap_or_default()).or_default().push(node);
        }
        let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for edge in &graph.edges {
            before.entry(&edge.to).or_default().push(&edge.from);
        }
        let width = labels.values().map(|it| it.chars().count()).max().unwrap_or(0).min(DESCRIPTION_CHARS);
        Self { children, labels, before, width, done: BTreeSet::new(), lines: Vec::new() }
    }

    fn level(&mut self, parent: &'a str, indent: &str) {
        let Some(nodes) = self.children.remove(parent) else { return };
        let last = nodes.len() - 1;
        for (place, node) in nodes.into_iter().enumerate() {
            self.node(node, indent, place == last);
        }
    }

    /// Draws the node and what it contains. Each node is drawn once, so the depth is bounded by [`DRAWN`].
    fn node(&mut self, node: &'a v1::GraphNode, indent: &str, last: bool) {
        if self.done.len() >= DRAWN || !self.done.insert(&node.uid) {
            return;
        }
        let label = label(node);
        let mut line = format!("{indent}{} {label}", if last { "└─" } else { "├─" });
        let mut more = Vec::new();
        if !node.description.trim().is_empty() && node.description.trim() != label {
            more.push(text::cut(&text::one_line(&node.description), DESCRIPTION_CHARS));
        }
        let before = self.before.get(node.uid.as_str()).into_iter().flatten();
        let before: Vec<_> = before.map(|uid| *self.labels.get(uid).unwrap_or(uid)).collect();
        if !before.is_empty() {
            more.push(format!("← {}", before.join(", ")));
        }
        if !more.is_empty() {
            let fill = self.width.saturating_sub(label.chars().count());
            line = format!("{line}{}  {}", " ".repeat(fill), more.join("  "));
        }
        self.lines.push(text::one_line_kept(&line));
        self.level(&node.uid, &format!("{indent}{}", if last { "   " } else { "│  " }));
    }
}

fn label(node: &v1::GraphNode) -> &str {
    let label = node.label.trim();
    if label.is_empty() { &node.uid } else { label }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, label: &str, parent: &str) -> v1::GraphNode {
        v1::GraphNode {
            uid: uid.into(),
            label: label.into(),
            description: String::new(),
            parent_uid: parent.into(),
        }
    }

    fn edge(from: &str, to: &str) -> v1::GraphEdge {
        v1::GraphEdge { from: from.into(), to: to.into() }
    }

    #[test]
    fn nodes_stand_below_their_container_and_name_what_they_follow() {
        let mut graph = v1::GraphView {
            nodes: vec![
                node("a", "Load", ""),
                node("b", "Parse", "a"),
                node("c", "", "a"),
                node("d", "Out", ""),
            ],
            edges: vec![edge("a", "d"), edge("b", "d")],
        };
        graph.nodes[0].description = "reads\nit all".to_owned();
        let expected = [
            "4 nodes, 2 edges",
            "├─ Load   reads it all",
            "│  ├─ Parse",
            "│  └─ c",
            "└─ Out    ← Load, Parse",
        ];
        assert_eq!(lines(&graph), expected);
    }

    #[test]
    fn nodes_that_contain_each_other_are_drawn_all_the_same() {
        let graph = v1::GraphView {
            nodes: vec![node("a", "A", "b"), node("b", "B", "a"), node("c", "C", "c")],
            edges: vec![],
        };
        assert_eq!(lines(&graph), ["3 nodes, 0 edges", "└─ A", "   └─ B", "└─ C"]);
    }

    #[test]
    fn a_large_graph_is_cut() {
        let nodes = (0..DRAWN + 5).map(|it| node(&it.to_string(), "", "")).collect();
        let lines = lines(&v1::GraphView { nodes, edges: vec![] });
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (DRAWN + 2, Some("… and 5 more")));
    }

    #[test]
    fn a_graph_without_nodes_is_not_drawn() {
        assert_eq!(lines(&v1::GraphView::default()), [""; 0]);
    }
}
