use std::{fs, path::Path};

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    model::{UidGenerator, ViewContent},
    runner::repo::git::testing::TestRepo,
};

fn graph_of(root: &Path) -> PackageGraph {
    package_graph(&RepoDir::open(root).unwrap(), &mut |_| {}, &CancellationToken::new()).unwrap()
}

fn graph(files: &[(&str, &str)]) -> PackageGraph {
    let repo = TestRepo::new(files);
    graph_of(&repo.path())
}

fn uids(graph: &PackageGraph) -> Vec<&str> {
    graph.packages.iter().map(|it| it.uid.as_str()).collect()
}

fn edges(graph: &PackageGraph) -> Vec<(&str, &str)> {
    graph.dependencies.iter().map(|it| (it.from.as_str(), it.to.as_str())).collect()
}

fn external<'a>(graph: &'a PackageGraph, uid: &str) -> &'a Package {
    graph.packages.iter().find(|it| it.uid == uid).unwrap()
}

#[test]
fn cargo_packages_depend_by_path_under_any_name() {
    let graph = graph(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"*\"]\n[workspace.package]\nversion = \"3.0.0\"\n[workspace.dependencies]\n\
             core = { path = \"core\" }\nserde = \"1\"\nshort = { path = \"util\", package = \"util-long\" }\n\
             [patch.crates-io]\npatched = { path = \"patched\" }",
        ),
        (
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nversion.workspace = true\n[dependencies]\ncore.workspace = true\n\
             serde = { workspace = true }\nshort = { workspace = true }\npatched = \"1\"\nunrelated = \"1\"\n\
             [target.'cfg(unix)'.dependencies]\nnix = \"1\"\nother = { path = \"../other\", package = \"other-real\" }\n\
             [build-dependencies]\ncore = { path = \"../core\" }\noutside = { path = \"../../elsewhere\" }",
        ),
        (
            "core/Cargo.toml",
            "[package]\nname = \"core\"\nversion = \"1.0.0\"\n[dev-dependencies]\napp = { path = \"../app\" }",
        ),
        ("util/Cargo.toml", "[package]\nname = \"util-long\""),
        ("other/Cargo.toml", "[package]\nname = \"other-real\"\n[dependencies]\nserde = \"1\""),
        ("patched/Cargo.toml", "[package]\nname = \"patched\""),
        ("unrelated/Cargo.toml", "[package]\nname = \"unrelated\""),
    ]);
    assert_eq!(graph.problems, []);
    assert_eq!(
        edges(&graph),
        [
            ("cargo:app", "cargo:core"),
            ("cargo:app", "cargo:other-real"),
            ("cargo:app", "cargo:patched"),
            ("cargo:app", "cargo:util-long"),
            ("cargo:core", "cargo:app"),
        ]
    );
    assert_eq!(graph.dependencies[0].kinds, [DependencyKind::Normal, DependencyKind::Build]);
    let app = external(&graph, "cargo:app");
    assert_eq!((app.external, app.version.as_deref()), (4, Some("3.0.0")), "serde, unrelated, nix, outside");
    let cycle = Cycle { packages: vec!["cargo:app".into(), "cargo:core".into()], development: true };
    assert_eq!(graph.cycles, [cycle]);
}

#[test]
fn npm_packages_find_one_another_by_name() {
    let graph = graph(&[
        (
            "package.json",
            r#"{"private": true, "workspaces": ["packages/*"], "devDependencies": {"@x/a": "*", "jest": "1"}}"#,
        ),
        (
            "packages/a/package.json",
            r#"{"name": "@x/a", "version": "1.0.0", "dependencies": {"@x/b": "workspace:*", "react": "18"}}"#,
        ),
        ("packages/b/package.json", r#"{"name": "@x/b", "peerDependencies": {"@x/c": "^1"}}"#),
        (
            "packages/c/package.json",
            r#"{"name": "@x/c", "dependencies": {"alias": "npm:@x/a@1", "local": "file:../d", "@x/b": "github:x/b"}}"#,
        ),
        ("packages/d/package.json", r#"{"name": "d"}"#),
        ("packages/esm/package.json", r#"{"type": "module"}"#),
        ("node_modules/x/package.json", r#"{"name": "x"}"#),
    ]);
    assert_eq!(uids(&graph), ["npm:@x/a", "npm:@x/b", "npm:@x/c", "npm:d", "npm:root"]);
    assert_eq!(
        edges(&graph),
        [
            ("npm:@x/a", "npm:@x/b"),
            ("npm:@x/b", "npm:@x/c"),
            ("npm:@x/c", "npm:@x/a"),
            ("npm:@x/c", "npm:d"),
            ("npm:root", "npm:@x/a")
        ]
    );
    assert_eq!(graph.cycles.len(), 1);
    assert_eq!((graph.cycles[0].packages.len(), graph.cycles[0].development), (3, false));
}

#[test]
fn go_modules_require_and_replace() {
    let graph = graph(&[
        ("go.work", "go 1.22\nuse (\n\t./a\n\t./b\n)\nreplace example.org/other => ./d\n"),
        (
            "a/go.mod",
            "module example.org/a // the first\n\ngo 1.22\n\nrequire (\n\texample.org/b v1.0.0\n\texample.org/old v1.0.0\n\
             \texample.org/other v1.0.0\n\tgolang.org/x/net v0.1.0\n\tgolang.org/x/text v0.1.0 // indirect\n)\n\
             replace example.org/old v1.0.0 => ../c\n",
        ),
        ("b/go.mod", "module \"example.org/b\"\nrequire example.org/a v1.0.0\n"),
        ("c/go.mod", "module example.org/c\n"),
        ("d/go.mod", "module example.org/d\n"),
    ]);
    assert_eq!(graph.problems, []);
    assert_eq!(
        edges(&graph),
        [
            ("go:example.org/a", "go:example.org/b"),
            ("go:example.org/a", "go:example.org/c"),
            ("go:example.org/a", "go:example.org/d"),
            ("go:example.org/b", "go:example.org/a"),
        ]
    );
    assert_eq!(external(&graph, "go:example.org/a").external, 1);
    assert_eq!(graph.cycles[0].packages, ["go:example.org/a", "go:example.org/b"]);
}

#[test]
fn python_packages_are_compared_by_their_normalised_names() {
    let graph = graph(&[
        (
            "one/pyproject.toml",
            "[project]\nname = \"My.One\"\nversion = \"1\"\ndependencies = [\"my_two>=1; python_version > '3'\", \"requests[socks]\"]\n\
             [project.optional-dependencies]\nx = [\"My-Three\"]\n[build-system]\nrequires = [\"hatchling\"]",
        ),
        (
            "two/pyproject.toml",
            "[tool.poetry]\nname = \"my-two\"\n[tool.poetry.dependencies]\npython = \"^3\"\nthing = { path = \"../three\" }\n\
             [tool.poetry.group.dev.dependencies]\npytest = \"*\"",
        ),
        (
            "three/setup.cfg",
            "[metadata]\nname = my_three\n[options]\ninstall_requires =\n    my-four\n    numpy\npackages = find:\n",
        ),
        (
            "four/setup.py",
            "from setuptools import setup\nsetup(\n  name='my-four', version=\"2\",\n  install_requires=[\n 'my-five[x]>1',\n ],\n)\n",
        ),
        (
            "five/pyproject.toml",
            "[project]\nname = \"my-five\"\n[tool.uv.sources]\nodd = { path = \"../service\" }",
        ),
        ("five/setup.cfg", "[options]\ninstall_requires = odd"),
        (
            "service/requirements.txt",
            "# comment\n-r base.txt\n-e ../one\n./../two ; x\nflask==1 # why\ngit+https://h/x\n",
        ),
        ("tools/pyproject.toml", "[tool.black]\nline-length = 1"),
    ]);
    assert_eq!(graph.problems, []);
    assert_eq!(
        edges(&graph),
        [
            ("python:my-five", "python:service"),
            ("python:my-four", "python:my-five"),
            ("python:my-one", "python:my-three"),
            ("python:my-one", "python:my-two"),
            ("python:my-three", "python:my-four"),
            ("python:my-two", "python:my-three"),
            ("python:service", "python:my-one"),
            ("python:service", "python:my-two"),
        ]
    );
    assert_eq!(external(&graph, "python:my-one").external, 2);
    assert_eq!(external(&graph, "python:my-four").version.as_deref(), Some("2"));
    assert_eq!(external(&graph, "python:service").external, 2);
}

#[test]
fn maven_projects_inherit_from_their_parents() {
    let graph = graph(&[
        (
            "pom.xml",
            "<?xml version=\"1.0\"?><project xmlns=\"http://maven.apache.org/POM/4.0.0\"><groupId>org.x</groupId>\
             <artifactId>parent</artifactId><version>1</version><packaging>pom</packaging><modules><module>a</module></modules>\
             <properties><g>org.x</g></properties><dependencyManagement><dependencies><dependency><groupId>org.x</groupId>\
             <artifactId>b</artifactId></dependency></dependencies></dependencyManagement></project>",
        ),
        (
            "a/pom.xml",
            "<project><parent><groupId>org.x</groupId><artifactId>parent</artifactId><version>1</version></parent>\
             <artifactId>a</artifactId><dependencies><dependency><groupId>${g}</groupId><artifactId>b</artifactId></dependency>\
             <dependency><groupId>junit</groupId><artifactId>junit</artifactId><scope>test</scope></dependency></dependencies></project>",
        ),
        (
            "b/pom.xml",
            "<project><parent><groupId>org.x</groupId><artifactId>parent</artifactId><version>1</version></parent>\
             <artifactId>b</artifactId><dependencies><dependency><groupId>${project.groupId}</groupId><artifactId>a</artifactId>\
             <scope>test</scope></dependency></dependencies></project>",
        ),
    ]);
    assert_eq!(graph.problems, []);
    let (a, b, parent) = ("maven:org.x:a", "maven:org.x:b", "maven:org.x:parent");
    assert_eq!(edges(&graph), [(a, b), (a, parent), (b, a), (b, parent)]);
    assert_eq!((external(&graph, a).external, external(&graph, a).version.as_deref()), (1, Some("1")));
    assert_eq!(graph.cycles, [Cycle { packages: vec![a.into(), b.into()], development: true }]);
}

#[test]
fn malformed_manifests_are_told_with_their_lines_and_harm_nobody() {
    let graph = graph(&[
        ("good/Cargo.toml", "[package]\nname = \"good\""),
        ("a/Cargo.toml", "[package]\nname = \"a\"\nversion = = 1"),
        ("b/package.json", "{\n\"name\": \"b\",\n}"),
        ("c/go.mod", "module x\nrequire (\n"),
        ("d/pyproject.toml", "[project\nname"),
        ("e/pom.xml", "<project>\n<artifactId>\n</project>"),
        ("f/pom.xml", "<!DOCTYPE x [<!ENTITY a \"b\">]><project><artifactId>&a;</artifactId></project>"),
        ("g/package.json", &"[".repeat(100_000)),
        ("h/Cargo.toml", &format!("x = {}", "[".repeat(100_000))),
        ("i/Cargo.toml", &format!("# {}", "x".repeat(2 << 20))),
        ("j/Cargo.toml", "[dependencies]\n"),
        ("k/package.json", "\u{0}\u{1}"),
    ]);
    assert_eq!(uids(&graph), ["cargo:good"]);
    let lines: Vec<_> = graph.problems.iter().map(|it| (it.path.as_str(), it.line)).collect();
    assert_eq!(
        lines[..5],
        [
            ("a/Cargo.toml", Some(3)),
            ("b/package.json", Some(3)),
            ("c/go.mod", Some(2)),
            ("d/pyproject.toml", Some(1)),
            ("e/pom.xml", Some(3)),
        ]
    );
    assert_eq!(graph.problems.len(), 11, "{:?}", graph.problems);
}

#[test]
fn names_that_occur_twice_get_their_paths_and_the_nearest_is_meant() {
    let graph = graph(&[
        ("x/a/package.json", r#"{"name": "a"}"#),
        ("y/a/package.json", r#"{"name": "a"}"#),
        ("y/b/package.json", r#"{"name": "b", "dependencies": {"a": "1", "b": "1"}}"#),
    ]);
    assert_eq!(uids(&graph), ["npm:a@x/a", "npm:a@y/a", "npm:b"]);
    assert_eq!(edges(&graph), [("npm:b", "npm:a@y/a"), ("npm:b", "npm:b")]);
    assert_eq!(graph.cycles, [Cycle { packages: vec!["npm:b".into()], development: false }]);
}

#[test]
fn the_picture_is_stable_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    for at in 0..1000 {
        let path = folder.path().join(format!("p{at}"));
        fs::create_dir(&path).unwrap();
        let text =
            format!("[package]\nname = \"p{at}\"\n[dependencies]\nnext = {{ path = \"../p{}\" }}", at + 1);
        fs::write(path.join("Cargo.toml"), text).unwrap();
    }
    fs::write(folder.path().join("go.mod"), "module m").unwrap();
    let graph = graph_of(folder.path());
    assert_eq!((graph.packages.len(), graph.dependencies.len()), (1001, 999));
    let mut views = [graph.view(), graph_of(folder.path()).view()];
    views.iter_mut().for_each(|it| UidGenerator::default().rewrite(it));
    assert_eq!(views[0], views[1]);
    let Some(ViewContent::Graph(drawn)) = &views[0].content else { panic!("a graph") };
    assert!(drawn.nodes.len() <= 803);
    let known: std::collections::HashSet<_> = drawn.nodes.iter().map(|it| &it.uid).collect();
    assert_eq!(known.len(), drawn.nodes.len());
    assert!(drawn.edges.iter().all(|it| known.contains(&it.from) && known.contains(&it.to)));
    let json = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<PackageGraph>(&json).unwrap(), graph);
}

proptest! {
    #[test]
    fn any_text_can_be_a_manifest(
        text in "(name ?= ?|install_requires ?= ?|\\[|\\]|\"|'|\n|require|replace|module|=>|\\(|\\)|\\$\\{|\\}|-e |file:|@|;|ä|\\PC){0,40}",
    ) {
        for name in ["go.mod", "go.work", "setup.py", "setup.cfg", "requirements.txt", "pyproject.toml", "Cargo.toml", "pom.xml"] {
            let mut readers: [Box<dyn manifest::Reader>; 4] = [
                Box::<go::Go>::default(), Box::<python::Python>::default(), Box::<cargo::Cargo>::default(), Box::<maven::Maven>::default(),
            ];
            for reader in &mut readers {
                _ = reader.read(&manifest::Manifest { path: name, text: &text });
            }
            readers.into_iter().for_each(|it| drop(it.finish()));
        }
    }
}
