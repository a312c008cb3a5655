//! Circles in a graph.

/// The strongly connected components of more than one node, and the nodes with an edge to themselves; nodes are
/// `0..edges.len()`. Tarjan's algorithm with a stack of its own, so that a long chain cannot overflow the thread's.
/// Each component is sorted, and so are the components.
pub(super) fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        index: vec![None; edges.len()],
        low: vec![0; edges.len()],
        on_path: vec![false; edges.len()],
        path: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for node in 0..edges.len() {
        if search.index[node].is_none() {
            search.from(node, edges);
        }
    }
    search.found.sort_unstable();
    search.found
}

struct Search {
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    on_path: Vec<bool>,
    path: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Search {
    fn from(&mut self, root: usize, edges: &[Vec<usize>]) {
        self.open(root);
        // Each with the number of its edges that were followed.
        let mut calls = vec![(root, 0)];
        while let Some((node, followed)) = calls.last_mut() {
            let node = *node;
            if let Some(&to) = edges[node].get(*followed) {
                *followed += 1;
                match self.index[to] {
                    None => {
                        self.open(to);
                        calls.push((to, 0));
                    }
                    Some(index) if self.on_path[to] => self.low[node] = self.low[node].min(index),
                    Some(_) => {}
                }
                continue;
            }
            calls.pop();
            if let Some((parent, _)) = calls.last() {
                self.low[*parent] = self.low[*parent].min(self.low[node]);
            }
            if Some(self.low[node]) == self.index[node] {
                self.close(node, edges);
            }
        }
    }

    fn open(&mut self, node: usize) {
        self.index[node] = Some(self.next);
        self.low[node] = self.next;
        self.next += 1;
        self.path.push(node);
        self.on_path[node] = true;
    }

    fn close(&mut self, root: usize, edges: &[Vec<usize>]) {
        let start = self.path.iter().rposition(|it| *it == root).unwrap_or(0);
        let mut component = self.path.split_off(start);
        component.iter().for_each(|it| self.on_path[*it] = false);
        if component.len() > 1 || edges[root].contains(&root) {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn reached(edges: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
        let (mut reached, mut next) = (BTreeSet::new(), edges[from].clone());
        while let Some(node) = next.pop() {
            if reached.insert(node) {
                next.extend(&edges[node]);
            }
        }
        reached
    }

    #[test]
    fn circles_and_self_loops_are_found() {
        let edges = vec![vec![1], vec![2], vec![0, 3], vec![], vec![4], vec![3, 0]];
        assert_eq!(cycles(&edges), [vec![0, 1, 2], vec![4]]);
    }

    #[test]
    fn a_long_chain_is_no_danger() {
        let mut edges: Vec<Vec<usize>> = (1..=200_000).map(|it| vec![it]).collect();
        edges.push(vec![0]);
        assert_eq!(cycles(&edges)[0].len(), 200_001);
    }

    proptest! {
        #[test]
        fn two_nodes_share_a_circle_when_each_reaches_the_other(edges in prop::collection::vec(prop::collection::vec(0..8_usize, 0..4), 8)) {
            let reach: Vec<BTreeSet<usize>> = (0..8).map(|from| reached(&edges, from)).collect();
            let found = cycles(&edges);
            for a in 0..8 {
                let own = found.iter().find(|it| it.contains(&a));
                let expected: Vec<usize> = (0..8).filter(|b| reach[a].contains(b) && reach[*b].contains(&a)).collect();
                prop_assert_eq!(own.cloned().unwrap_or_default(), expected);
            }
        }
    }
}
