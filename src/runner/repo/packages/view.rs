//! The packages as a picture: an arrow from each to those it needs.

use std::collections::{HashMap, HashSet};

use super::{DependencyKind, Ecosystem, Package, PackageGraph};
use crate::model::{ClientView, Graph, GraphEdge, GraphNode};

/// Packages and arrows that are drawn, so that the picture fits into an event. Of more packages those with the most
/// arrows are drawn; the first node says how many there are.
const DRAWN_PACKAGES: usize = 800;
const DRAWN_EDGES: usize = 4000;

impl PackageGraph {
    /// The picture. With several ecosystems each has a node around its packages.
    pub fn view(&self) -> ClientView {
        let mut graph = Graph::default();
        let drawn = self.drawn();
        if drawn.len() < self.packages.len() || self.truncated {
            let text = format!("{} of {} packages are drawn", drawn.len(), self.packages.len());
            graph.nodes.push(GraphNode::new("more", "…", &text));
        }
        let mut ecosystems: Vec<Ecosystem> = drawn.iter().map(|it| it.ecosystem).collect();
        ecosystems.dedup();
        let grouped = ecosystems.len() > 1;
        if grouped {
            let nodes = ecosystems.iter().map(|it| GraphNode::new(&group_uid(*it), it.name(), ""));
            graph.nodes.extend(nodes);
        }
        let circles: HashMap<&str, usize> = self
            .cycles
            .iter()
            .enumerate()
            .flat_map(|(at, it)| it.packages.iter().map(move |uid| (uid.as_str(), at + 1)))
            .collect();
        for package in &drawn {
            let circle =
                circles.get(package.uid.as_str()).map(|it| format!("\nin cycle {it}")).unwrap_or_default();
            let mut node =
                GraphNode::new(&package.uid, &package.name, &format!("{}{circle}", package.description()));
            if grouped {
                node.parent_uid = group_uid(package.ecosystem);
            }
            graph.nodes.push(node);
        }
        let uids: HashSet<&str> = drawn.iter().map(|it| it.uid.as_str()).collect();
        let edges = self
            .dependencies
            .iter()
            .filter(|it| uids.contains(it.from.as_str()) && uids.contains(it.to.as_str()));
        // What is needed to run is drawn before what is needed to test.
        let (tests, others): (Vec<_>, Vec<_>) =
            edges.partition(|it| it.kinds == [DependencyKind::Development]);
        let edges = others.into_iter().chain(tests).take(DRAWN_EDGES);
        graph.edges.extend(edges.map(|it| GraphEdge::new(&it.from, &it.to)));
        ClientView::graph("package_graph", graph)
    }

    /// In the order of `packages`.
    fn drawn(&self) -> Vec<&Package> {
        let mut ends: HashMap<&str, usize> = HashMap::new();
        for dependency in &self.dependencies {
            *ends.entry(&dependency.from).or_default() += 1;
            *ends.entry(&dependency.to).or_default() += 1;
        }
        let mut order: Vec<usize> = (0..self.packages.len()).collect();
        order.sort_by_key(|it| {
            std::cmp::Reverse(ends.get(self.packages[*it].uid.as_str()).copied().unwrap_or(0))
        });
        order.truncate(DRAWN_PACKAGES);
        order.sort_unstable();
        order.into_iter().map(|it| &self.packages[it]).collect()
    }
}

impl Package {
    fn description(&self) -> String {
        let version = self.version.as_ref().map(|it| format!(" {it}")).unwrap_or_default();
        let external = match self.external {
            0 => String::new(),
            1 => "\n1 dependency from outside".to_owned(),
            count => format!("\n{count} dependencies from outside"),
        };
        format!("{}{version}\n{}{external}", self.ecosystem.name(), self.manifest)
    }
}

fn group_uid(ecosystem: Ecosystem) -> String {
    format!("ecosystem:{}", ecosystem.name())
}
