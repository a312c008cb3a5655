//! `mcp_call`: calls one tool of an MCP server.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    model::RunError,
    runner::{Task, ToolCall, Worker, WorkerOutput, WorkerSpec, permit_tool},
};

/// See the module.
pub(super) struct McpCall {
    spec: WorkerSpec,
}

impl McpCall {
    pub(super) fn new() -> Self {
        let about = "Calls a tool of an MCP server: parameters server, tool, and arguments as JSON";
        Self { spec: WorkerSpec::builtin("mcp_call", about) }
    }
}

#[async_trait]
impl Worker for McpCall {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let params = &task.request.params;
        let (server, tool) = (required(params, "server")?, required(params, "tool")?);
        let arguments = params.get("arguments").map_or("", |it| it.trim());
        let arguments: Value = match arguments {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|_| RunError::permanent("bad_params", "the parameter arguments is no JSON"))?,
        };
        let call = ToolCall { id: "mcp_call".to_owned(), name: format!("{server}/{tool}"), args: arguments };
        permit_tool(&task, &call)
            .await
            .map_err(|error| RunError::permanent(error.code(), error.to_string()))?;
        let arguments = call.args;
        let output = task.context.tools().call(server, tool, arguments, &task.cancel).await?;
        if output.is_error {
            return Err(RunError::permanent("mcp_tool_failed", format!("{tool} failed: {}", output.text)));
        }
        let value = json!({"text": output.text, "structured": output.structured, "content": output.content});
        Ok(WorkerOutput { value, ..WorkerOutput::default() })
    }
}

fn required<'a>(params: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, RunError> {
    let value = params.get(name).map(|it| it.trim()).filter(|it| !it.is_empty());
    value.ok_or_else(|| RunError::permanent("bad_params", format!("the parameter {name} is missing")))
}
