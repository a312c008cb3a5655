//! The rules of `docs/ARCHITECTURE.md` that a program can check: who may name whom, and how large a file may get.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Who may name whom. Every module may name itself, `model` and `runtime`; `model` names nobody.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("runtime", &[]),
    ("wire", &[]),
    ("storage", &[]),
    ("session", &["storage"]),
    ("run", &["storage"]),
    ("runner", &["run", "session", "storage"]),
    ("gateway", &["runner", "run", "session"]),
    ("api", &["gateway", "wire"]),
    ("cli", &["storage", "wire"]),
];

/// The composition root: may name everybody, and nobody names it.
const ROOT: &[&str] = &["app", "config"];

/// What `model` must not know: it is pure data and rules.
const UNKNOWN_TO_MODEL: &[&str] =
    &["tokio", "tonic", "prost", "axum", "http", "std::fs", "std::io", "std::net"];

/// Lines of a file, without its tests. Files are split by idea, so few come near it.
const LONGEST_FILE: usize = 600;
/// Nine of ten files stay below this.
const LONG_FILE: usize = 400;

#[test]
fn modules_name_only_those_they_may() {
    let mut errors = Vec::new();
    for (module, may_name) in MAY_NAME {
        for file in files_of(module) {
            let text = without_tests(&fs::read_to_string(&file).unwrap());
            for name in named_modules(&text) {
                let common = name == *module || name == "model" || (name == "runtime" && *module != "model");
                let known = MAY_NAME.iter().any(|(it, _)| *it == name) || ROOT.contains(&name.as_str());
                if known && !common && !may_name.contains(&name.as_str()) {
                    errors.push(format!("{}: `{module}` may not name `{name}`", file.display()));
                }
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    for entry in fs::read_dir(source()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let known = MAY_NAME.iter().any(|(it, _)| *it == name) || ROOT.contains(&name);
        assert!(
            known || matches!(name, "lib" | "main"),
            "add `{name}` to MAY_NAME and to docs/ARCHITECTURE.md"
        );
    }
}

#[test]
fn the_model_knows_no_runtime_no_protocol_and_no_io() {
    let files = files_of("model");
    let named = files.iter().flat_map(|file| {
        let text = without_tests(&fs::read_to_string(file).unwrap());
        let unknown = UNKNOWN_TO_MODEL.iter().filter(move |it| text.contains(&format!("{it}::")));
        unknown.map(move |it| format!("{}: names {it}", file.display()))
    });
    let named: Vec<_> = named.collect();
    assert!(named.is_empty(), "\n{}", named.join("\n"));
}

#[test]
fn files_stay_readable() {
    let all = MAY_NAME.iter().map(|(module, _)| *module).chain(ROOT.iter().copied()).chain(["main", "lib"]);
    let lengths: Vec<_> = all
        .flat_map(files_of)
        .map(|file| (without_tests(&fs::read_to_string(&file).unwrap()).lines().count(), file))
        .collect();
    let longest = lengths.iter().filter(|(lines, _)| *lines > LONGEST_FILE);
    assert_eq!(
        longest.collect::<Vec<_>>(),
        Vec::<&(usize, PathBuf)>::new(),
        "longer than {LONGEST_FILE} lines"
    );
    let long = lengths.iter().filter(|(lines, _)| *lines > LONG_FILE).count();
    assert!(long * 10 <= lengths.len(), "{long} of {} files have more than {LONG_FILE} lines", lengths.len());
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let text = "use crate::{model::{Run, RunId}, storage::RunLog};\ncrate::wire::heartbeat();";
    let names: Vec<_> = named_modules(text).into_iter().collect();
    assert_eq!(names, ["model", "storage", "wire"]);
    assert_eq!(without_tests("a\n// crate::app\n#[cfg(test)]\nmod tests {\n crate::api\n}\n").trim(), "a");
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files_of(module: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![source().join(module), source().join(format!("{module}.rs"))];
    while let Some(path) = left.pop() {
        let is_tests = path.file_stem().is_some_and(|it| it == "tests" || it == "testing");
        if path.is_dir() && !is_tests {
            left.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        } else if path.is_file() && !is_tests && path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}

/// The text without comments and without the tests at its end.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The first segment after every `crate::`, also inside `crate::{a, b::c}`.
fn named_modules(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, prefix) in text.match_indices("crate::") {
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => {
                names.insert(identifier(rest));
            }
            Some(group) => names.extend(first_segments(group)),
        }
    }
    names
}

fn first_segments(group: &str) -> Vec<String> {
    let (mut depth, mut begins, mut segments) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && (c.is_alphabetic() || c == '_') => {
                segments.push(identifier(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    segments
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
