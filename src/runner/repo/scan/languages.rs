//! The language of a file, told by its name.

/// The language of the file `name` (the last part of a path); `None` for what is no text or unknown.
pub(super) fn language(name: &str) -> Option<&'static str> {
    by_name(name).or_else(|| {
        let (stem, extension) = name.rsplit_once('.')?;
        // `.bashrc` is no file with the extension `bashrc`.
        if stem.is_empty() { None } else { by_extension(&extension.to_ascii_lowercase()) }
    })
}

fn by_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "Makefile" | "makefile" | "GNUmakefile" => "Makefile",
        "CMakeLists.txt" => "CMake",
        "Rakefile" | "Gemfile" | "Guardfile" | "Vagrantfile" | "Podfile" | "Fastfile" => "Ruby",
        "Jenkinsfile" => "Groovy",
        "BUILD" | "WORKSPACE" | "BUILD.bazel" | "WORKSPACE.bazel" | "MODULE.bazel" | "SConstruct"
        | "Tiltfile" => "Starlark",
        "Justfile" | "justfile" => "Just",
        "Cargo.lock" | "Pipfile" | "poetry.lock" | "uv.lock" => "TOML",
        "go.mod" | "go.sum" | "go.work" => "Go module",
        "meson.build" | "meson_options.txt" => "Meson",
        ".bashrc" | ".profile" | ".bash_profile" | ".zshrc" | "configure" | "gradlew" => "Shell",
        _ if name == "Dockerfile" || name.starts_with("Dockerfile.") || name == "Containerfile" => {
            "Dockerfile"
        }
        _ => return None,
    })
}

fn by_extension(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "rs" => "Rust",
        "go" => "Go",
        "py" | "pyi" | "pyw" => "Python",
        "js" | "mjs" | "cjs" | "jsx" => "JavaScript",
        "ts" | "mts" | "cts" | "tsx" => "TypeScript",
        "java" => "Java",
        "kt" | "kts" => "Kotlin",
        "scala" | "sc" => "Scala",
        "groovy" | "gradle" => "Groovy",
        "clj" | "cljs" | "cljc" | "edn" => "Clojure",
        "c" => "C",
        // Headers are counted with what they are written for most often.
        "h" => "C",
        "cc" | "cpp" | "cxx" | "hpp" | "hh" | "hxx" | "ipp" | "inl" => "C++",
        "cu" | "cuh" => "CUDA",
        "cs" | "csx" => "C#",
        "fs" | "fsx" | "fsi" => "F#",
        "vb" => "Visual Basic",
        "m" => "Objective-C",
        "mm" => "Objective-C++",
        "swift" => "Swift",
        "dart" => "Dart",
        "rb" | "rake" | "gemspec" => "Ruby",
        "php" | "phtml" => "PHP",
        "pl" | "pm" => "Perl",
        "lua" => "Lua",
        "r" | "rmd" => "R",
        "jl" => "Julia",
        "ex" | "exs" => "Elixir",
        "erl" | "hrl" => "Erlang",
        "hs" | "lhs" => "Haskell",
        "elm" => "Elm",
        "ml" | "mli" => "OCaml",
        "nim" => "Nim",
        "zig" => "Zig",
        "d" => "D",
        "cr" => "Crystal",
        "f" | "f90" | "f95" | "f03" | "for" => "Fortran",
        "pas" | "pp" => "Pascal",
        "adb" | "ads" => "Ada",
        "asm" | "s" => "Assembly",
        "v" | "sv" | "svh" => "Verilog",
        "vhd" | "vhdl" => "VHDL",
        "sol" => "Solidity",
        "wat" | "wast" => "WebAssembly text",
        "sh" | "bash" | "zsh" | "ksh" | "fish" | "bats" => "Shell",
        "ps1" | "psm1" | "psd1" => "PowerShell",
        "bat" | "cmd" => "Batch",
        "awk" => "Awk",
        "sql" => "SQL",
        "proto" => "Protocol Buffers",
        "thrift" => "Thrift",
        "graphql" | "gql" => "GraphQL",
        "html" | "htm" | "xhtml" => "HTML",
        "css" => "CSS",
        "scss" | "sass" => "Sass",
        "less" => "Less",
        "vue" => "Vue",
        "svelte" => "Svelte",
        "astro" => "Astro",
        "tf" | "tfvars" | "hcl" => "HCL",
        "nix" => "Nix",
        "bzl" | "star" | "bazel" => "Starlark",
        "cmake" => "CMake",
        "mk" | "mak" => "Makefile",
        "dockerfile" => "Dockerfile",
        "el" | "lisp" | "lsp" | "cl" => "Lisp",
        "scm" | "ss" | "rkt" => "Scheme",
        "vim" => "Vim script",
        "md" | "markdown" | "mdx" => "Markdown",
        "rst" => "reStructuredText",
        "adoc" | "asciidoc" => "AsciiDoc",
        "tex" | "sty" | "bib" => "TeX",
        "txt" | "text" => "Text",
        "json" | "jsonc" | "json5" | "ndjson" | "jsonl" | "geojson" => "JSON",
        "yaml" | "yml" => "YAML",
        "toml" => "TOML",
        "xml" | "xsd" | "xsl" | "xslt" | "csproj" | "fsproj" | "vcxproj" | "props" | "targets" => "XML",
        "ini" | "cfg" | "conf" | "properties" => "INI",
        "csv" | "tsv" => "CSV",
        "ipynb" => "Jupyter Notebook",
        "svg" => "SVG",
        "diff" | "patch" => "Diff",
        _ => return None,
    })
}

/// True for languages that say what a program does, not how it is described or configured.
pub(super) fn is_code(language: &str) -> bool {
    !matches!(
        language,
        "Markdown"
            | "reStructuredText"
            | "AsciiDoc"
            | "TeX"
            | "Text"
            | "JSON"
            | "YAML"
            | "TOML"
            | "XML"
            | "INI"
            | "CSV"
            | "SVG"
            | "Diff"
            | "Go module"
            | "Jupyter Notebook"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_languages() {
        for (name, expected) in [
            ("main.rs", Some("Rust")),
            ("A.PY", Some("Python")),
            ("x.d.ts", Some("TypeScript")),
            ("Dockerfile.dev", Some("Dockerfile")),
            ("Makefile", Some("Makefile")),
            ("CMakeLists.txt", Some("CMake")),
            (".rs", None),
            ("photo.png", None),
            ("README", None),
            ("", None),
        ] {
            assert_eq!(language(name), expected, "{name}");
        }
    }
}
