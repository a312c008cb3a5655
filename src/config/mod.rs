//! Configuration: embedded defaults, then `rungate.toml`, then `RUNGATE_*` environment variables, then flags.

#[cfg(test)]
mod documentation;
mod keys;
mod load;
mod run;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use crate::{
    api::{CorsSettings, ListenSettings, WsSettings},
    model::WorkerKey,
    run::WatchSettings,
    runner::{
        RunnerSettings, ToolSettings, WorkerSettings,
        llm::{LlmSettings, Secret},
        mcp::McpServerSettings,
        repo::git::CloneLimits,
    },
    runtime::telemetry::LogSettings,
};

pub use keys::{KEYS, Key};
pub use load::{ConfigError, Sources, load};
pub use run::{RunLogKind, RunSettings};

/// Where operators connect when nothing else is said. A second gateway on the machine does without.
pub const INTERNAL_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8091);

/// Everything that can be configured. `docs/configuration.md` lists every key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where orchestrators and operators connect; never the public port.
    pub internal_listen: SocketAddr,
    /// What orchestrators and the gateway show each other.
    pub internal: InternalSettings,
    /// Where run-time state is kept.
    pub data: PathBuf,
    /// What is logged, and how.
    pub log: LogSettings,
    /// How connections are taken up and let go.
    pub connections: ListenSettings,
    /// Which web pages may call the gateway from a browser.
    pub cors: CorsSettings,
    /// What WebSockets may do, and which.
    pub ws: WsSettings,
    /// How runs are kept.
    pub run: RunSettings,
    /// How runs are watched.
    pub watch: WatchSettings,
    /// How runs are executed.
    pub runner: RunnerSettings,
    /// How sessions are kept.
    pub session: SessionSettings,
    /// Which repositories clients may name.
    pub repos: RepoSettings,
    /// The language model that workers may ask.
    pub llm: LlmSettings,
    /// Which tools workers may call.
    pub tools: ToolSettings,
    /// Servers of tools that workers may call.
    pub mcp: McpSettings,
    /// The user's own workers.
    pub workers: BTreeMap<WorkerKey, WorkerSettings>,
    /// The folder of the configuration file: where the user's programs are started.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Which repositories clients may name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepoSettings {
    /// Folders below which local repositories may lie. Without it: any folder while the gateway listens on loopback, else
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<PathBuf>>,
    /// Servers that may be cloned from, as `host`, `host:port` or `scheme://host`; a listed one may be private. Without it:
    /// any public server, by https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Bytes that one clone may take on disk.
    pub clone_bytes: u64,
    /// How long one clone may take.
    #[serde(with = "duration")]
    pub clone_timeout: Duration,
}

/// Servers of tools that workers may call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McpSettings {
    /// MCP servers by name.
    pub servers: BTreeMap<String, McpServerSettings>,
}

/// What orchestrators and the gateway show each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InternalSettings {
    /// Who pushes must send it, and the gateway sends it with each call. Empty: none.
    pub token: Secret,
}

/// How sessions are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// Whether sessions outlive the process.
    pub store: SessionStoreKind,
    /// Sessions that are kept at a time. One more is refused until others are forgotten.
    pub most: usize,
    /// Sessions that nobody has used for so long are forgotten.
    #[serde(with = "duration")]
    pub retention: Duration,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStoreKind {
    /// In `init_sessions.json` in the data folder, and a journal beside it.
    File,
    /// In memory: gone with the process.
    Memory,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_listen: INTERNAL_LISTEN,
            internal: InternalSettings::default(),
            data: PathBuf::from("tmp"),
            log: LogSettings::default(),
            connections: ListenSettings::default(),
            cors: CorsSettings::default(),
            ws: WsSettings::default(),
            run: RunSettings::default(),
            watch: WatchSettings::default(),
            runner: RunnerSettings::default(),
            session: SessionSettings::default(),
            repos: RepoSettings::default(),
            llm: LlmSettings::default(),
            tools: ToolSettings::default(),
            mcp: McpSettings::default(),
            workers: BTreeMap::new(),
            folder: PathBuf::from("."),
        }
    }
}

impl Default for RepoSettings {
    fn default() -> Self {
        let CloneLimits { bytes, timeout } = CloneLimits::default();
        Self { roots: None, hosts: None, clone_bytes: bytes, clone_timeout: timeout }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            store: SessionStoreKind::File,
            most: 1_000_000,
            retention: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
