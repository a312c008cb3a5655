//! Tools of MCP servers, called for a program.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::runner::mcp::{McpError, McpOutput, McpRegistry};

/// Calls the tool `SERVER/TOOL`; gives its result, or why there is none. `None` when no such server is configured.
pub(super) async fn call(
    tools: &McpRegistry,
    name: &str,
    args: Value,
    cancel: &CancellationToken,
) -> Option<Result<Value, String>> {
    let (server, tool) = name.split_once('/')?;
    match tools.call(server, tool, args, cancel).await {
        Ok(McpOutput { is_error: true, text, .. }) => Some(Err(text)),
        Ok(McpOutput { text, structured, content, .. }) => {
            Some(Ok(json!({"text": text, "structured": structured, "content": content})))
        }
        Err(McpError::UnknownServer { .. }) => None,
        // The program is no client: what the server said helps it to do better next time.
        Err(error @ McpError::Refused { .. }) => {
            let McpError::Refused { said, .. } = &error else { return None };
            Some(Err(format!("{error}: {said}")))
        }
        Err(error) => Some(Err(error.to_string())),
    }
}
