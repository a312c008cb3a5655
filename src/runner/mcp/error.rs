//! Why a tool of an MCP server gave no result.

use std::time::Duration;

use thiserror::Error;

use crate::model::RunError;

/// Why a list or a call failed. The texts are for people and hold nothing of what the server said.
#[derive(Debug, Error)]
pub enum McpError {
    /// No such server is configured.
    #[error("no MCP server is named `{server}`")]
    UnknownServer {
        /// What was asked for.
        server: String,
    },
    /// Tools take an object of named arguments.
    #[error("the arguments of a tool are a JSON object")]
    BadArguments,
    /// It could not be started or reached, or it went away.
    #[error("the MCP server `{server}` is unavailable")]
    Unavailable {
        /// The server.
        server: String,
        /// For the log.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It failed a moment ago and is given time.
    #[error("the MCP server `{server}` failed a moment ago and is not tried again yet")]
    Resting {
        /// The server.
        server: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// It does not accept the credentials.
    #[error("the MCP server `{server}` did not accept the credentials")]
    Unauthorized {
        /// The server.
        server: String,
    },
    /// It took longer than the server's `timeout`.
    #[error("the MCP server `{server}` took too long")]
    Timeout {
        /// The server.
        server: String,
    },
    /// It answered with an error of the protocol: an unknown tool, or arguments it cannot take.
    #[error("the MCP server `{server}` refused the request (code {code})")]
    Refused {
        /// The server.
        server: String,
        /// The JSON-RPC code.
        code: i32,
        /// What the server said, for a model that may do better next time; cut to 2 KiB. Not for clients.
        said: String,
    },
    /// The result is larger than is kept.
    #[error("the result of the MCP server `{server}` is too large")]
    TooLarge {
        /// The server.
        server: String,
    },
    /// It answered something else than it was asked for.
    #[error("the answer of the MCP server `{server}` cannot be used")]
    BadResponse {
        /// The server.
        server: String,
    },
    /// The caller cancelled.
    #[error("the call of a tool was cancelled")]
    Cancelled,
    /// The registry was closed.
    #[error("the MCP servers have been shut down")]
    Closed,
}

impl McpError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownServer { .. } => "mcp_unknown_server",
            Self::BadArguments => "mcp_bad_arguments",
            Self::Unavailable { .. } | Self::Resting { .. } | Self::Closed => "mcp_unavailable",
            Self::Unauthorized { .. } => "mcp_unauthorized",
            Self::Timeout { .. } => "mcp_timeout",
            Self::Refused { .. } => "mcp_refused",
            Self::TooLarge { .. } => "mcp_too_large",
            Self::BadResponse { .. } => "mcp_bad_response",
            Self::Cancelled => "cancelled",
        }
    }

    /// True when the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Resting { .. } | Self::Timeout { .. } | Self::Closed)
    }
}

impl From<McpError> for RunError {
    fn from(error: McpError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), retryable: error.is_retryable() }
    }
}
