//! Programs that are not cargo's: where they are, or which one is missing. `tests/setup` installs them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{process::Command, sync::Semaphore};

/// Names under which systems have Chromium.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Servers lie there, which is in the path of the administrator only.
const SERVERS: &str = "/usr/sbin";

/// Browsers at a time.
pub(crate) static BROWSERS: Semaphore = Semaphore::const_new(2);

/// What a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// A program in the path.
    Program(&'static str),
    /// Chromium, under any of its names.
    Chromium,
    /// The script of the public MCP server package `@modelcontextprotocol/server-everything`.
    McpServer,
    /// The packages of `tests/clients/package.json`.
    NpmPackages,
    /// The suite `h2spec`.
    H2spec,
    /// `grpcio` and `grpcio-tools`.
    PythonPackages,
}

impl Tool {
    /// Where it is.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let folder = |path: PathBuf| path.is_dir().then_some(path);
        match self {
            Self::Program(name) => in_path(name),
            Self::Chromium => CHROMIUM.into_iter().find_map(in_path),
            Self::McpServer => {
                let package = "mcp/node_modules/@modelcontextprotocol/server-everything";
                let script = repository().join("target/test-tools").join(package).join("dist/index.js");
                script.is_file().then_some(script)
            }
            Self::NpmPackages => {
                let modules = clients().join("node_modules");
                npm_packages().iter().all(|it| modules.join(it).is_dir()).then_some(modules)
            }
            Self::H2spec => {
                let program = repository().join("target/test-tools/h2spec");
                program.is_file().then_some(program)
            }
            Self::PythonPackages => {
                let path = repository().join("target/test-tools/python");
                folder(path.join("grpc_tools")).map(|_| path)
            }
        }
    }

    /// Where it is; a test is skipped where it is not.
    pub(crate) fn path(self) -> PathBuf {
        self.find().expect("skipped without it")
    }
}

/// Says which of the tools is missing.
pub(crate) fn missing(tools: &[Tool]) -> Option<String> {
    let missing = tools.iter().find(|it| it.find().is_none())?;
    Some(match missing {
        Tool::Program(name) => format!("{name} is not installed"),
        Tool::Chromium => "chromium is not installed".to_owned(),
        Tool::McpServer => "the npm package of the MCP server is not installed".to_owned(),
        Tool::NpmPackages => "the npm packages are not installed".to_owned(),
        Tool::H2spec => "h2spec is not installed".to_owned(),
        Tool::PythonPackages => "the Python packages are not installed".to_owned(),
    })
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The clients in other languages.
pub(crate) fn clients() -> PathBuf {
    repository().join("tests/clients")
}

/// Runs a command that must succeed; gives what it wrote to standard output.
pub(crate) async fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// The names in `tests/clients/package.json`.
fn npm_packages() -> Vec<String> {
    let file = std::fs::read(clients().join("package.json")).unwrap();
    let package: serde_json::Value = serde_json::from_slice(&file).unwrap();
    package["dependencies"].as_object().unwrap().keys().cloned().collect()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).chain([SERVERS.into()]);
    folders.map(|it| it.join(name)).find(|it| it.is_file())
}
