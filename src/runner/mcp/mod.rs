//! Tools of MCP servers: which there are, and calling them.
//!
//! Source of the protocol: the Model Context Protocol, spoken through the `rmcp` crate over standard input and output or
//! streamable HTTP. Reading order: [`McpRegistry`] → `server` (connect once, again after a death) → `connection`.

mod connection;
mod error;
mod http;
#[cfg(test)]
mod http_tests;
mod process;
mod server;
mod settings;
mod stdio;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use error::McpError;
pub use settings::{McpServerSettings, McpSettingsError};

use self::server::Server;

/// The configured MCP servers. Each is connected when it is first used.
///
/// Ended by [`McpRegistry::close`]; when it is dropped instead, the processes it started are killed.
pub struct McpRegistry {
    servers: BTreeMap<String, Server>,
    closed: CancellationToken,
}

/// What one server offers, or why that is not known.
#[derive(Debug)]
pub struct McpServerTools {
    /// The server's name in the configuration.
    pub server: String,
    /// Its tools, at most 256.
    pub tools: Result<Vec<McpTool>, McpError>,
}

/// A tool that can be called.
#[derive(Debug, Clone, PartialEq)]
pub struct McpTool {
    /// The server that has it.
    pub server: String,
    /// Its name there, at most 128 bytes.
    pub name: String,
    /// What it does, for a model and for people; at most 4 KiB, may be empty.
    pub description: String,
    /// The JSON schema of its arguments, at most 64 KiB.
    pub input_schema: Value,
}

/// What a tool gave back. At most 1 MiB as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct McpOutput {
    /// True when the tool itself says that it failed; the text tells why.
    pub is_error: bool,
    /// All its text, one block per line.
    pub text: String,
    /// Its result as data, where it gives one.
    pub structured: Option<Value>,
    /// All blocks as the protocol has them: texts, images, sounds, resources.
    pub content: Vec<Value>,
}

impl McpRegistry {
    /// Keeps the settings; nothing is started or connected before it is needed.
    pub fn new(servers: BTreeMap<String, McpServerSettings>) -> Result<Self, McpSettingsError> {
        servers.keys().try_for_each(|name| settings::check_name(name))?;
        let closed = CancellationToken::new();
        let server =
            |(name, settings): (String, _)| (name.clone(), Server::new(name, settings, closed.clone()));
        Ok(Self { servers: servers.into_iter().map(server).collect(), closed })
    }

    /// True when no server is configured.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// True when a server of this name is configured.
    pub fn has(&self, server: &str) -> bool {
        self.servers.contains_key(server)
    }

    /// Asks all servers for their tools, side by side. In the order of their names; one that fails stands in its place
    /// with the reason.
    pub async fn tools(&self) -> Vec<McpServerTools> {
        join_all(self.servers.values().map(async |server| {
            let tools = server.with_connection(async |connection| connection.tools().await).await;
            let tools = tools.inspect_err(|error| log(server.name(), error));
            McpServerTools { server: server.name().to_owned(), tools }
        }))
        .await
    }

    /// Calls a tool with an object of arguments (`null` for none). It takes at most the server's `timeout`, and once
    /// more as long when the server must be started first. It is never called twice: after a failure the caller decides.
    pub async fn call(
        &self,
        server: &str,
        tool: &str,
        arguments: Value,
        cancel: &CancellationToken,
    ) -> Result<McpOutput, McpError> {
        let server =
            self.servers.get(server).ok_or_else(|| McpError::UnknownServer { server: server.to_owned() })?;
        let arguments = match arguments {
            Value::Null => None,
            Value::Object(arguments) => Some(arguments),
            _ => return Err(McpError::BadArguments),
        };
        let called = server.with_connection(async |connection| connection.call(tool, arguments).await);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(McpError::Cancelled),
            result = called => result,
        };
        result.inspect_err(|error| log(server.name(), error))
    }

    /// Takes leave of all servers and waits until their processes have ended, 5 s at most. Calls under way fail, and so
    /// do all later ones.
    pub async fn close(&self) {
        self.closed.cancel();
        join_all(self.servers.values().map(Server::close)).await;
    }
}

/// The one place where the causes of a failure are logged.
fn log(server: &str, error: &McpError) {
    match error {
        McpError::Cancelled | McpError::Closed | McpError::Resting { .. } => {}
        McpError::Refused { said, .. } => tracing::debug!(server, said, "{error}"),
        _ => tracing::warn!(server, error = error as &dyn std::error::Error, "an MCP request failed"),
    }
}
