//! The `git clone` that is run: its arguments and its environment.

use std::{
    ffi::OsStr,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
};

use url::Url;

use super::{CloneError, CloneSource};
use crate::runner::repo::address::{RemoteAddress, Scheme};

/// What of the gateway's own environment git gets to see: where programs are, whom TLS trusts, where the ssh keys are.
/// Everything else stays outside: variables that trace, configure, or redirect git as well as the gateway's secrets.
const ENVIRONMENT: [&str; 6] =
    ["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK", "SSH_AGENT_PID"];

/// Settings that hold for every git that is run, whatever a repository says. What is given on the command line wins
/// over all files.
const SETTINGS: [&str; 21] = [
    // No programs.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
    "gc.auto=0",
    "maintenance.auto=false",
    // No other places.
    "protocol.allow=never",
    "http.followRedirects=false",
    "http.proxy=",
    "transfer.bundleURI=false",
    "fetch.uriProtocols=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // No tricks with names, wherever the disk comes from.
    "core.protectHFS=true",
    "core.protectNTFS=true",
    // A server that sends less than a byte a second for a minute has gone.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "advice.detachedHead=false",
];

/// How ssh is started: it never asks, believes only hosts that are known, and forwards nothing.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 \
                   -o ClearAllForwardings=yes -o PermitLocalCommand=no";

/// A `git` that sees nothing of the gateway's environment and of the machine's configuration.
pub(super) fn hardened(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs([
        // Its messages are read; they must be in English.
        ("LC_ALL", "C"),
        // No `.gitconfig`, no `.netrc`.
        ("HOME", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TEMPLATE_DIR", ""),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", ""),
        ("SSH_ASKPASS", ""),
        ("SSH_ASKPASS_REQUIRE", "never"),
        ("GIT_SSH_COMMAND", SSH),
        ("GIT_SSH_VARIANT", "ssh"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_PROTOCOL_FROM_USER", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
    ]);
    command.args(SETTINGS.iter().flat_map(|it| ["-c", it]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The clone of `source` into the folder `into`, of the newest commit only when `shallow`.
pub(super) fn clone(
    program: &OsStr,
    source: &CloneSource,
    into: &Path,
    shallow: bool,
) -> Result<Command, CloneError> {
    let (transport, url) = match source {
        CloneSource::Local(path) => {
            ("file", Url::from_file_path(path).map_err(|()| CloneError::Failed)?.into())
        }
        CloneSource::Remote { address, .. } => (address.scheme().name(), address.url()),
    };
    let mut command = hardened(program);
    command.env("GIT_ALLOW_PROTOCOL", transport);
    command.args(["-c", &format!("protocol.{transport}.allow=always")]);
    if let CloneSource::Remote { address, pinned } = source {
        if !pinned.is_empty() {
            command.args(["-c", &format!("http.curloptResolve={}", pin(address, pinned))]);
        }
        authorize(&mut command, address);
    }
    command.args([
        "clone",
        "--progress",
        "--no-recurse-submodules",
        "--template=",
        "--single-branch",
        "--no-tags",
    ]);
    if shallow {
        command.arg("--depth=1");
    }
    command.arg("--").arg(url).arg(into);
    Ok(command)
}

/// `HOST:PORT:IP,IP` as curl reads it.
fn pin(address: &RemoteAddress, pinned: &[IpAddr]) -> String {
    let ips = pinned.iter().map(|it| match it {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    format!("{}:{}:{}", address.host(), address.port(), ips.collect::<Vec<_>>().join(","))
}

/// Credentials go by the environment: arguments can be read by every user of the machine, and the clone's own
/// configuration would keep them.
fn authorize(command: &mut Command, address: &RemoteAddress) {
    if !matches!(address.scheme(), Scheme::Https | Scheme::Http) {
        return;
    }
    if let Some(authorization) = address.authorization() {
        command.envs([
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", &format!("http.{}.extraHeader", address.url())),
            ("GIT_CONFIG_VALUE_0", &format!("Authorization: {authorization}")),
        ]);
    }
}
