//! `connectconformance`, the program that runs the suite.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// The version of the suite.
pub(crate) const MODULE: &str = "connectrpc.com/conformance@v1.0.5";
const COMMAND: &str = "connectrpc.com/conformance/cmd/connectconformance@v1.0.5";

/// The cases that CONFIG selects. Fewer would mean that cases were skipped unnoticed.
const CASES: usize = 1980;

/// A run takes a minute or two; one that takes longer hangs in a call.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(600);

/// What the gateway supports. TLS ends in front of it.
const CONFIG: &str = "\
features:
  versions: [HTTP_VERSION_1, HTTP_VERSION_2]
  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB]
  codecs: [CODEC_PROTO, CODEC_JSON]
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP]
  stream_types:
    - STREAM_TYPE_UNARY
    - STREAM_TYPE_CLIENT_STREAM
    - STREAM_TYPE_SERVER_STREAM
    - STREAM_TYPE_HALF_DUPLEX_BIDI_STREAM
    - STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM
  supports_h2c: true
  supports_tls: false
  supports_tls_client_certs: false
  supports_trailers: true
  supports_half_duplex_bidi_over_http1: true
  supports_connect_get: true
  supports_message_receive_limit: true
";

/// An installed runner.
pub(crate) struct Runner {
    program: PathBuf,
}

impl Runner {
    /// Finds the runner, or installs it into `target/tools`. None where there is no Go to install it with, nor to
    /// tell where the suite's protos are.
    pub(crate) fn find() -> Result<Option<Self>, String> {
        let Ok(go_path) = go(&["env", "GOPATH"]) else { return Ok(None) };
        // The runner that was built here comes first: it is the version above for certain.
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
        let path = env::var_os("PATH").unwrap_or_default();
        let folders =
            [tools.clone(), Path::new(&go_path).join("bin")].into_iter().chain(env::split_paths(&path));
        let installed =
            folders.map(|folder| folder.join("connectconformance")).find(|program| is_right(program));
        if let Some(program) = installed {
            return Ok(Some(Self { program }));
        }
        println!("installing connectconformance into {}", tools.display());
        let install = Command::new("go").args(["install", COMMAND]).env("GOBIN", &tools).status();
        match install {
            Ok(status) if status.success() => Ok(Some(Self { program: tools.join("connectconformance") })),
            Ok(status) => Err(format!("go install {COMMAND}: {status}")),
            Err(error) => Err(format!("go install {COMMAND}: {error}")),
        }
    }

    /// Runs every case that the configuration selects against this program. Returns the runner's summary.
    pub(crate) fn run(&self) -> Result<String, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = folder.path().join("config.yaml");
        fs::write(&config, CONFIG).map_err(|error| error.to_string())?;
        let server = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.program);
        command.arg("--conf").arg(&config).args(["--mode", "server", "--"]).arg(server);
        command.env(crate::SERVER, "1").stdin(Stdio::null());
        let output = output_within(TIME_LIMIT, command, folder.path()).map_err(|error| error.to_string())?;
        let told =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let all_passed = format!("{CASES} passed, 0 failed");
        match output.status.success() && told.contains(&all_passed) {
            true => {
                Ok(told.lines().rev().find(|line| line.contains(" passed, ")).unwrap_or_default().to_owned())
            }
            false => Err(format!("{told}\n{}: expected {all_passed}", output.status)),
        }
    }
}

/// The folder of the suite's protos, which come with its Go module.
pub(crate) fn protos() -> Result<PathBuf, String> {
    let cache = go(&["env", "GOMODCACHE"])?;
    let protos = Path::new(&cache).join(MODULE).join("proto");
    if !protos.is_dir() {
        // The runner was installed, and the module that it was built from has gone since.
        go(&["mod", "download", MODULE])?;
    }
    Ok(protos)
}

fn go(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("go").args(arguments).output().map_err(|error| format!("go: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("go {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Whether `program` is the runner in the right version.
fn is_right(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let version = COMMAND.rsplit('@').next().unwrap_or_default();
    String::from_utf8_lossy(&output.stdout).contains(version)
}

/// Runs `command` in a process group of its own, so that none of its servers outlives the time limit.
fn output_within(limit: Duration, mut command: Command, folder: &Path) -> io::Result<Output> {
    let (told, complained) = (folder.join("stdout"), folder.join("stderr"));
    command.stdout(fs::File::create(&told)?).stderr(fs::File::create(&complained)?).process_group(0);
    let mut child = command.spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > limit {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
            }
            break child.wait()?;
        }
        thread::sleep(Duration::from_millis(100));
    };
    Ok(Output { status, stdout: fs::read(told)?, stderr: fs::read(complained)? })
}
