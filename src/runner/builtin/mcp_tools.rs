//! `mcp_tools`: the tools of all configured MCP servers.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::{
    model::{ClientView, Graph, GraphEdge, GraphNode, RunError, limits},
    runner::{
        Task, Worker, WorkerOutput, WorkerSpec,
        mcp::{McpServerTools, McpTool},
        size::json_bytes,
    },
};

/// See the module.
pub(super) struct McpTools {
    spec: WorkerSpec,
}

impl McpTools {
    pub(super) fn new() -> Self {
        Self { spec: WorkerSpec::builtin("mcp_tools", "Lists the tools of the configured MCP servers") }
    }
}

#[async_trait]
impl Worker for McpTools {
    fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    async fn run(&self, task: Task) -> Result<WorkerOutput, RunError> {
        let listed = tokio::select! {
            listed = task.context.tools().tools() => listed,
            () = task.cancel.cancelled() => Vec::new(),
        };
        let whole = value(&listed, true);
        // Schemas are the greater part by far; names and descriptions are worth more than nothing.
        let value = if json_bytes(&whole) > limits::OUTPUT_BYTES { value(&listed, false) } else { whole };
        Ok(WorkerOutput { value, view: Some(view(&listed)), ..WorkerOutput::default() })
    }
}

fn value(listed: &[McpServerTools], schemas: bool) -> Value {
    let tool = |it: &McpTool| {
        let mut tool = json!({"name": it.name, "description": it.description});
        if schemas {
            tool["input_schema"] = it.input_schema.clone();
        }
        tool
    };
    let server = |it: &McpServerTools| match &it.tools {
        Ok(tools) => json!({"server": it.server, "tools": tools.iter().map(tool).collect::<Vec<_>>()}),
        Err(error) => json!({"server": it.server, "tools": [], "error": error.to_string()}),
    };
    json!({"servers": listed.iter().map(server).collect::<Vec<_>>()})
}

/// An edge from each server to each of its tools; a broken server tells its error.
fn view(listed: &[McpServerTools]) -> ClientView {
    let mut graph = Graph::default();
    for McpServerTools { server, tools } in listed {
        let about = tools.as_ref().map_or_else(ToString::to_string, |it| format!("{} tools", it.len()));
        graph.nodes.push(GraphNode::new(server, server, &about));
        for tool in tools.iter().flatten() {
            let uid = format!("{server}/{}", tool.name);
            graph.nodes.push(GraphNode::new(&uid, &tool.name, &tool.description));
            graph.edges.push(GraphEdge::new(server, &uid));
        }
    }
    ClientView::graph("mcp_tools", graph)
}
