//! Connects packages: names and paths become edges, edges circles.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Cycle, Dependency, DependencyKind, Ecosystem, Package, PackageGraph,
    collect::Found,
    cycles::cycles,
    manifest::{Draft, Need, Place},
};

/// Packages in a graph. More are left out, those in deeper folders first, and the graph says that it is truncated.
const MAX_PACKAGES: usize = 5000;

/// Dependencies in a graph. More are left out, and the graph says that it is truncated.
const MAX_DEPENDENCIES: usize = 100_000;

/// Finds packages by name and by folder.
struct Directory<'a> {
    drafts: &'a [Draft],
    by_name: HashMap<(Ecosystem, &'a str), Vec<usize>>,
    by_folder: HashMap<(Ecosystem, &'a str), Vec<usize>>,
}

pub(super) fn resolve(found: Found) -> PackageGraph {
    let Found { mut drafts, problems, mut truncated } = found;
    if drafts.len() > MAX_PACKAGES {
        truncated = true;
        drafts.sort_by_cached_key(|it| (it.folder.matches('/').count(), it.manifest.clone()));
        drafts.truncate(MAX_PACKAGES);
    }
    drafts.sort_by(|a, b| (a.ecosystem, &a.name, &a.folder).cmp(&(b.ecosystem, &b.name, &b.folder)));
    let directory = Directory::new(&drafts);
    let mut edges: BTreeMap<(usize, usize), BTreeSet<DependencyKind>> = BTreeMap::new();
    let mut packages = Vec::with_capacity(drafts.len());
    for (from, draft) in drafts.iter().enumerate() {
        let mut external = BTreeSet::new();
        for need in &draft.needs {
            match directory.find(from, need) {
                Some(to) if edges.len() < MAX_DEPENDENCIES || edges.contains_key(&(from, to)) => {
                    edges.entry((from, to)).or_default().insert(need.kind);
                }
                Some(_) => truncated = true,
                None => drop(external.insert(need.name.as_str())),
            }
        }
        packages.push(package(draft, directory.uid(draft), external.len()));
    }
    let cycles = named_cycles(&packages, &edges);
    let dependencies = edges.into_iter().map(|((from, to), kinds)| Dependency {
        from: packages[from].uid.clone(),
        to: packages[to].uid.clone(),
        kinds: kinds.into_iter().collect(),
    });
    PackageGraph { dependencies: dependencies.collect(), packages, cycles, problems, truncated }
}

impl<'a> Directory<'a> {
    fn new(drafts: &'a [Draft]) -> Self {
        let mut directory = Self { drafts, by_name: HashMap::new(), by_folder: HashMap::new() };
        for (place, draft) in drafts.iter().enumerate() {
            directory.by_name.entry((draft.ecosystem, &draft.name)).or_default().push(place);
            directory.by_folder.entry((draft.ecosystem, &draft.folder)).or_default().push(place);
        }
        directory
    }

    fn uid(&self, draft: &Draft) -> String {
        let uid = format!("{}:{}", draft.ecosystem.name(), draft.name);
        let alone = self.by_name.get(&(draft.ecosystem, &*draft.name)).is_none_or(|it| it.len() == 1);
        if alone { uid } else { format!("{uid}@{}", draft.folder) }
    }

    /// The package that `from` needs, when it is in the repository.
    fn find(&self, from: usize, need: &Need) -> Option<usize> {
        let draft = &self.drafts[from];
        match &need.place {
            Place::Outside => None,
            Place::Folder(folder) => {
                let there = self.by_folder.get(&(draft.ecosystem, folder.as_str()))?;
                let named = there.iter().find(|it| self.drafts[**it].name == need.name);
                named.or(there.first()).copied()
            }
            Place::Anywhere => {
                let named = self.by_name.get(&(draft.ecosystem, need.name.as_str()))?;
                // Of several the nearest: the one that shares most folders.
                let near = |it: &&usize| {
                    let other = self.drafts[**it].folder.split('/');
                    draft.folder.split('/').zip(other).take_while(|(a, b)| a == b).count()
                };
                // The first of equals, so that the answer is always the same.
                named.iter().rev().max_by_key(near).copied()
            }
        }
    }
}

fn package(draft: &Draft, uid: String, external: usize) -> Package {
    Package {
        uid,
        ecosystem: draft.ecosystem,
        name: draft.name.clone(),
        path: draft.folder.clone(),
        manifest: draft.manifest.clone(),
        version: draft.version.clone(),
        external: u32::try_from(external).unwrap_or(u32::MAX),
    }
}

fn named_cycles(
    packages: &[Package],
    edges: &BTreeMap<(usize, usize), BTreeSet<DependencyKind>>,
) -> Vec<Cycle> {
    let lists = |counts: &dyn Fn(&BTreeSet<DependencyKind>) -> bool| {
        let mut lists = vec![Vec::new(); packages.len()];
        edges.iter().filter(|(_, kinds)| counts(kinds)).for_each(|((from, to), _)| lists[*from].push(*to));
        lists
    };
    let used = cycles(&lists(&|kinds| kinds.iter().any(|it| *it != DependencyKind::Development)));
    let all = cycles(&lists(&|_| true));
    let cycle = |nodes: &Vec<usize>| Cycle {
        packages: nodes.iter().map(|it| packages[*it].uid.clone()).collect(),
        // Every circle of the smaller graph lies within one of the larger.
        development: !used.iter().any(|it| it.iter().all(|node| nodes.binary_search(node).is_ok())),
    };
    all.iter().map(cycle).collect()
}
