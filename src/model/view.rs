//! What a client can draw of a run, and the stable names of the nodes in it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What a client can draw of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// The part of the work the view belongs to; may be empty.
    pub phase: String,
    /// The drawing.
    pub content: Option<ViewContent>,
}

/// The drawing in a [`ClientView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewContent {
    /// Nodes and edges.
    Graph(Graph),
    /// An answer in words.
    LlmResponse(String),
}

/// Nodes and edges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// In the order to draw them.
    pub nodes: Vec<GraphNode>,
    /// Between uids of `nodes`.
    pub edges: Vec<GraphEdge>,
}

/// One node of a [`Graph`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// Worker side: any id. Client side: what [`UidGenerator`] made of it.
    pub uid: String,
    /// The short text in the node.
    pub label: String,
    /// The long text about the node.
    pub description: String,
    /// The uid of the node that contains this one; empty at the top.
    pub parent_uid: String,
}

/// One edge of a [`Graph`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphEdge {
    /// A uid.
    pub from: String,
    /// A uid.
    pub to: String,
}

/// Gives nodes uids that are readable, unique, and the same whenever the same node is shown again.
///
/// A uid is a slug of the node's own id and eight hexadecimal digits of its FNV-1a hash, as the original clients know
/// them (`init-7ab57213`); when two ids collide the later gets `-2`, `-3` and so on.
#[derive(Debug, Default)]
pub struct UidGenerator {
    by_id: HashMap<String, String>,
    taken: HashMap<String, u32>,
}

impl ClientView {
    /// A view of a graph.
    pub fn graph(phase: &str, graph: Graph) -> Self {
        Self { phase: phase.to_owned(), content: Some(ViewContent::Graph(graph)) }
    }

    /// A view of an answer in words.
    pub fn llm_response(phase: &str, text: &str) -> Self {
        Self { phase: phase.to_owned(), content: Some(ViewContent::LlmResponse(text.to_owned())) }
    }
}

impl GraphNode {
    /// A node at the top.
    pub fn new(uid: &str, label: &str, description: &str) -> Self {
        Self {
            uid: uid.into(),
            label: label.into(),
            description: description.into(),
            parent_uid: String::new(),
        }
    }
}

impl GraphEdge {
    /// An edge between two uids.
    pub fn new(from: &str, to: &str) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

impl UidGenerator {
    /// The uid of the node that its worker calls `id`.
    pub fn uid(&mut self, id: &str) -> String {
        let id = id.trim();
        if let Some(uid) = self.by_id.get(id) {
            return uid.clone();
        }
        let base = format!("{}-{:08x}", slug(id), fnv1a_64(id.as_bytes()) as u32);
        let count = self.taken.entry(base.clone()).or_insert(0);
        *count += 1;
        let uid = if *count == 1 { base } else { format!("{base}-{count}") };
        self.by_id.insert(id.to_owned(), uid.clone());
        uid
    }

    /// How many ids it has named.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when it has named none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Rewrites a view's graph from the ids its worker gave to uids. A node without an id goes by its label, without
    /// either by its place.
    pub fn rewrite(&mut self, view: &mut ClientView) {
        let Some(ViewContent::Graph(graph)) = &mut view.content else { return };
        let mut renamed = HashMap::new();
        for (place, node) in graph.nodes.iter_mut().enumerate() {
            let own = std::mem::take(&mut node.uid);
            let seed = [own.trim(), node.label.trim()].into_iter().find(|it| !it.is_empty());
            node.uid = self.uid(seed.unwrap_or(&format!("node-{place}")));
            renamed.insert(own, node.uid.clone());
        }
        let rename = |uid: &mut String| {
            if let Some(new) = renamed.get(uid.as_str()) {
                *uid = new.clone();
            }
        };
        graph
            .nodes
            .iter_mut()
            .filter(|it| !it.parent_uid.is_empty())
            .for_each(|it| rename(&mut it.parent_uid));
        for edge in &mut graph.edges {
            rename(&mut edge.from);
            rename(&mut edge.to);
        }
    }
}

fn slug(id: &str) -> String {
    let mut slug = String::new();
    for c in id.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "node".to_owned() } else { slug.to_owned() }
}

/// FNV-1a with its standard 64-bit offset and prime.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_those_the_original_clients_know() {
        let mut uids = UidGenerator::default();
        for (id, uid) in [
            ("init", "init-7ab57213"),
            ("load", "load-70f271e9"),
            ("process", "process-903dc59a"),
            ("output", "output-651b4384"),
            ("worker_DAG", "worker-dag-a075d158"),
            ("plan_pipeline", "plan-pipeline-99460af1"),
            ("code_roots", "code-roots-18aec85e"),
        ] {
            assert_eq!(uids.uid(id), uid);
            assert_eq!(uids.uid(id), uid, "the same node keeps its uid");
        }
    }

    #[test]
    fn edges_and_parents_follow_their_nodes() {
        let mut view = ClientView::graph(
            "",
            Graph {
                nodes: vec![
                    GraphNode::new("a", "A", ""),
                    GraphNode { parent_uid: "a".into(), ..GraphNode::new("b", "B", "") },
                    GraphNode::default(),
                ],
                edges: vec![GraphEdge::new("a", "b")],
            },
        );
        UidGenerator::default().rewrite(&mut view);
        let Some(ViewContent::Graph(graph)) = view.content else { panic!("a graph") };
        assert_eq!(graph.edges[0].from, graph.nodes[0].uid);
        assert_eq!(graph.edges[0].to, graph.nodes[1].uid);
        assert_eq!(graph.nodes[1].parent_uid, graph.nodes[0].uid);
        assert!(graph.nodes[2].uid.starts_with("node-2-"), "{}", graph.nodes[2].uid);
    }
}
