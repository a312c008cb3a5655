//! Files that say how a repository is built, run, tested and licensed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a program begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// The file, or the manifest that names it.
    pub path: String,
    /// What kind: `rust binary`, `go command`, `npm bin` …
    pub kind: String,
    /// What the manifest says: a command's name, a file, a line of a Dockerfile. May be empty.
    pub target: String,
}

/// The tool that reads the manifest `name`; `None` for other files.
pub(super) fn manifest_kind(name: &str) -> Option<&'static str> {
    Some(match name {
        "Cargo.toml" => "cargo",
        "package.json" => "npm",
        "pnpm-workspace.yaml" => "pnpm",
        "lerna.json" => "lerna",
        "deno.json" | "deno.jsonc" => "deno",
        "go.mod" | "go.work" => "go",
        "pyproject.toml" | "setup.py" | "setup.cfg" | "requirements.txt" | "Pipfile" | "environment.yml" => {
            "python"
        }
        "pom.xml" => "maven",
        "build.gradle" | "build.gradle.kts" | "settings.gradle" | "settings.gradle.kts" => "gradle",
        "build.sbt" => "sbt",
        "Gemfile" => "bundler",
        "composer.json" => "composer",
        "mix.exs" => "mix",
        "rebar.config" => "rebar",
        "pubspec.yaml" => "pub",
        "Package.swift" => "swift",
        "Podfile" => "cocoapods",
        "stack.yaml" | "cabal.project" => "haskell",
        "dune-project" => "dune",
        "Project.toml" => "julia",
        "build.zig" => "zig",
        "flake.nix" | "default.nix" | "shell.nix" => "nix",
        "Makefile" | "GNUmakefile" | "makefile" => "make",
        "Justfile" | "justfile" => "just",
        "CMakeLists.txt" => "cmake",
        "meson.build" => "meson",
        "configure.ac" => "autoconf",
        "WORKSPACE" | "WORKSPACE.bazel" | "MODULE.bazel" => "bazel",
        "docker-compose.yml" | "docker-compose.yaml" | "compose.yml" | "compose.yaml" => "compose",
        "Chart.yaml" => "helm",
        "Tiltfile" => "tilt",
        "Dockerfile" | "Containerfile" => "docker",
        _ if name.starts_with("Dockerfile.") => "docker",
        _ if [".csproj", ".fsproj", ".vbproj", ".sln"].iter().any(|it| name.ends_with(it)) => "dotnet",
        _ if name.ends_with(".gemspec") => "bundler",
        _ if name.ends_with(".cabal") => "haskell",
        _ => return None,
    })
}

/// True when the entry points of the file stand in its text.
pub(super) fn names_entry_points(name: &str) -> bool {
    matches!(name, "package.json" | "pyproject.toml" | "Cargo.toml") || manifest_kind(name) == Some("docker")
}

/// The entry point that a file is by its place alone.
pub(super) fn entry_by_path(path: &str) -> Option<&'static str> {
    let mut names = path.rsplit('/');
    let name = names.next()?;
    let folders: Vec<&str> = names.collect();
    let parent = folders.first().copied().unwrap_or_default();
    if folders
        .iter()
        .any(|it| matches!(*it, "examples" | "testdata" | "fixtures" | "vendor" | "node_modules"))
    {
        return None;
    }
    match name {
        "main.rs" if parent == "src" || parent == "bin" || folders.get(1) == Some(&"bin") => {
            Some("rust binary")
        }
        _ if name.ends_with(".rs") && parent == "bin" && folders.get(1) == Some(&"src") => {
            Some("rust binary")
        }
        "main.go" => Some("go command"),
        "__main__.py" => Some("python module"),
        "manage.py" | "wsgi.py" | "asgi.py" | "app.py" if folders.len() <= 2 => Some("python application"),
        "main.py" if folders.len() <= 2 => Some("python script"),
        "Main.java" | "Application.java" => Some("java class"),
        "Main.kt" | "Application.kt" => Some("kotlin file"),
        "Program.cs" => Some("c# program"),
        "main.c" | "main.cc" | "main.cpp" | "main.cxx" => Some("c or c++ program"),
        "main.swift" => Some("swift program"),
        "main.dart" if parent == "lib" || parent == "bin" => Some("dart program"),
        "config.ru" => Some("rack application"),
        "index.html" if folders.is_empty() || parent == "public" => Some("web page"),
        _ => None,
    }
}

/// The entry points that a manifest's text names.
pub(super) fn entries_in(path: &str, name: &str, text: &str) -> Vec<EntryPoint> {
    let found = match name {
        "package.json" => npm_entries(text),
        "pyproject.toml" => python_entries(text),
        "Cargo.toml" => cargo_entries(text),
        _ => docker_entries(text),
    };
    let entry = |(kind, target): (&str, String)| EntryPoint {
        path: path.into(),
        kind: kind.into(),
        target: short(&target),
    };
    found.into_iter().map(entry).collect()
}

/// Told from the words that only this licence has.
pub(super) fn license_name(text: &str) -> Option<&'static str> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let has = |words: &str| text.contains(words);
    Some(match () {
        () if has("gnu affero general public license") => "AGPL-3.0",
        () if has("gnu lesser general public license") => "LGPL",
        () if has("gnu general public license version 3") => "GPL-3.0",
        () if has("gnu general public license version 2") => "GPL-2.0",
        () if has("mozilla public license version 2.0") || has("mozilla public license, version 2.0") => {
            "MPL-2.0"
        }
        () if has("apache license") => "Apache-2.0",
        () if has("eclipse public license") => "EPL",
        () if has("business source license") => "BUSL-1.1",
        () if has("boost software license") => "BSL-1.0",
        () if has("permission is hereby granted, free of charge") => "MIT",
        () if has("permission to use, copy, modify, and/or distribute") => "ISC",
        () if has("neither the name of") && has("redistribution and use in source") => "BSD-3-Clause",
        () if has("redistribution and use in source") => "BSD-2-Clause",
        () if has("this is free and unencumbered software") => "Unlicense",
        () if has("cc0 1.0") => "CC0-1.0",
        () => return None,
    })
}

/// True for the name of a file that carries a licence.
pub(super) fn is_license(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "UNLICENSE"].iter().any(|it| {
        name.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
    })
}

/// True for a file that holds tests, by the habits of its language.
pub(super) fn is_test(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let in_folder =
        folders.split('/').any(|it| matches!(it, "tests" | "test" | "__tests__" | "spec" | "specs" | "e2e"));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    in_folder
        || ["_test", "_spec", ".test", ".spec", "Test", "Tests", "IT"].iter().any(|it| stem.ends_with(it))
        || (stem.starts_with("test_") && name.ends_with(".py"))
}

/// True for documentation.
pub(super) fn is_doc(path: &str) -> bool {
    matches!(path.split('/').next(), Some("docs" | "doc" | "documentation")) && path.contains('/')
}

/// True for the configuration of a service that builds and tests.
pub(super) fn is_ci(path: &str) -> bool {
    let workflow =
        path.strip_prefix(".github/workflows/").or_else(|| path.strip_prefix(".forgejo/workflows/"));
    workflow.is_some_and(|it| it.ends_with(".yml") || it.ends_with(".yaml"))
        || path.starts_with(".buildkite/")
        || path.starts_with(".ci/")
        || matches!(
            path,
            ".gitlab-ci.yml"
                | ".circleci/config.yml"
                | "Jenkinsfile"
                | "azure-pipelines.yml"
                | ".travis.yml"
                | ".drone.yml"
                | ".woodpecker.yml"
                | "appveyor.yml"
                | ".cirrus.yml"
                | "bitbucket-pipelines.yml"
        )
}

fn npm_entries(text: &str) -> Vec<(&'static str, String)> {
    let Ok(manifest) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let mut found = Vec::new();
    match &manifest["bin"] {
        Value::String(file) => found.push(("npm bin", file.clone())),
        Value::Object(commands) => found.extend(commands.keys().map(|it| ("npm bin", it.clone()))),
        _ => {}
    }
    found.extend(manifest["main"].as_str().map(|it| ("npm main", it.to_owned())));
    found.extend(manifest["scripts"]["start"].as_str().map(|it| ("npm start", it.to_owned())));
    found
}

fn python_entries(text: &str) -> Vec<(&'static str, String)> {
    let Ok(manifest) = text.parse::<toml::Table>() else { return Vec::new() };
    let at = |path: &[&str]| path.iter().try_fold(&manifest, |table, name| table.get(*name)?.as_table());
    let tables =
        [at(&["project", "scripts"]), at(&["project", "gui-scripts"]), at(&["tool", "poetry", "scripts"])];
    let scripts = tables.into_iter().flatten().flatten();
    scripts
        .map(|(name, target)| ("python script", format!("{name} = {}", target.as_str().unwrap_or_default())))
        .collect()
}

fn cargo_entries(text: &str) -> Vec<(&'static str, String)> {
    let Ok(manifest) = text.parse::<toml::Table>() else { return Vec::new() };
    let Some(binaries) = manifest.get("bin").and_then(toml::Value::as_array) else { return Vec::new() };
    let name = |it: &toml::Value| it.get("name").and_then(toml::Value::as_str).map(str::to_owned);
    binaries.iter().filter_map(name).map(|it| ("rust binary", it)).collect()
}

fn docker_entries(text: &str) -> Vec<(&'static str, String)> {
    let last = |word: &str| {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|it| it.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word)));
        lines
            .filter_map(|it| it.get(word.len()..))
            .rfind(|it| it.starts_with([' ', '\t', '[']))
            .map(|it| it.trim().to_owned())
    };
    // Of several stages only the last one counts, and ENTRYPOINT more than CMD.
    last("ENTRYPOINT")
        .map(|it| ("docker entrypoint", it))
        .or(last("CMD").map(|it| ("docker command", it)))
        .into_iter()
        .collect()
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_are_found_by_place_and_by_text() {
        for (path, kind) in [
            ("src/main.rs", Some("rust binary")),
            ("crates/x/src/bin/tool.rs", Some("rust binary")),
            ("crates/x/src/bin/tool/main.rs", Some("rust binary")),
            ("src/other.rs", None),
            ("cmd/server/main.go", Some("go command")),
            ("pkg/__main__.py", Some("python module")),
            ("vendor/x/main.go", None),
        ] {
            assert_eq!(entry_by_path(path), kind, "{path}");
        }
        let targets = |name: &str, text: &str| {
            entries_in(name, name, text).into_iter().map(|it| it.target).collect::<Vec<_>>()
        };
        assert_eq!(targets("package.json", r#"{"main":"m.js","bin":{"b":"b.js"}}"#), ["b", "m.js"]);
        assert_eq!(targets("pyproject.toml", "[project.scripts]\nrun = \"a:b\""), ["run = a:b"]);
        assert_eq!(targets("Cargo.toml", "[[bin]]\nname = \"x\"\n[[bin]]\npath = \"y\""), ["x"]);
        assert_eq!(
            targets("Dockerfile", "FROM a\nENTRYPOINT [\"a\"]\nFROM b\nentrypoint b c\nCMD d"),
            ["b c"]
        );
        for name in ["package.json", "pyproject.toml", "Cargo.toml", "Dockerfile"] {
            assert!(targets(name, "{[broken").is_empty());
        }
    }

    #[test]
    fn landmarks_are_known_by_their_names() {
        assert!(is_license("LICENSE-MIT") && is_license("copying") && !is_license("licenses.rs"));
        assert!(
            is_test("a/tests/b.rs") && is_test("x_test.go") && is_test("test_x.py") && is_test("a.spec.ts")
        );
        assert!(!is_test("src/attestation.rs") && !is_test("contest/a.py"));
        assert!(is_ci(".github/workflows/a.yml") && is_ci(".gitlab-ci.yml") && !is_ci("src/ci.yml"));
        assert!(is_doc("docs/a") && !is_doc("docs") && !is_doc("src/docs/a"));
        assert_eq!(license_name("Permission is hereby\ngranted, free of charge, to"), Some("MIT"));
        assert_eq!(license_name("words"), None);
        assert_eq!(manifest_kind("A.csproj"), Some("dotnet"));
    }
}
