//! The MCP registry against a server that others wrote: the public package `@modelcontextprotocol/server-everything`,
//! over standard input and output and over streamable HTTP.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use libtest_mimic::Trial;
use rungate::runner::{
    llm::Secret,
    mcp::{McpError, McpOutput, McpRegistry, McpServerSettings, McpTool},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};
use tokio_util::sync::CancellationToken;

use crate::support::{needs, patient_trial, tools::Tool};

/// Starting Node on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes Node listen on a free port of the loopback, whatever the program asks for, and tell which. The package itself
/// knows only fixed ports on all interfaces.
const LOOPBACK_ONLY: &str = r#"data:text/javascript,
    import net from "node:net";
    const listen = net.Server.prototype.listen;
    net.Server.prototype.listen = function (...args) {
        const then = args.find((arg) => typeof arg === "function");
        return listen.call(this, { host: "127.0.0.1", port: 0 }, () => {
            console.error(`LISTENING ${this.address().port}`);
            if (then) then.call(this);
        });
    };"#;

/// The package's server over HTTP. Killed with its value.
struct HttpServer {
    process: Child,
    url: String,
    /// Kept open: Node ends when it cannot write there. The few lines of a test fit into the pipe.
    _stderr: Lines<BufReader<ChildStderr>>,
}

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let tools = [Tool::Program("node"), Tool::NpmPackages];
    let trials = [
        patient_trial("mcp::public_server_as_a_program", 2 * PATIENCE, check_stdio),
        patient_trial("mcp::public_server_over_streamable_http", 2 * PATIENCE, check_streamable_http),
    ];
    trials.into_iter().map(|it| needs(&tools, it)).collect()
}

/// The server's script.
fn script() -> PathBuf {
    Tool::NpmPackages.path().join("@modelcontextprotocol/server-everything/dist/index.js")
}

/// The server as a program: tools are listed and called, a broken neighbour does not matter, close leaves nothing.
async fn check_stdio() {
    let server = script();
    let everything = program(&["node", server.to_str().expect("a plain path"), "stdio"]);
    let servers = [("everything", everything), ("broken", program(&["/no/such/program"]))];
    let registry = McpRegistry::new(servers.map(|(name, settings)| (name.to_owned(), settings)).into())
        .expect("good settings");
    let mut listed = registry.tools().await;
    assert!(matches!(listed[0].tools, Err(McpError::Unavailable { .. })), "{listed:?}");
    check_tools(&listed.remove(1).tools.expect("the server works"));
    Box::pin(check_calls(&registry)).await;
    registry.close().await;
    assert!(matches!(call(&registry, "echo", Value::Null).await, Err(McpError::Closed)));
}

/// The same server over streamable HTTP; it is gone in the end, and that is told.
async fn check_streamable_http() {
    let mut server = HttpServer::start(&script()).await;
    let settings = McpServerSettings::Http {
        url: server.url.clone(),
        bearer: Secret::new("a token that this server does not ask for"),
        timeout: PATIENCE,
    };
    let registry =
        McpRegistry::new(BTreeMap::from([("everything".to_owned(), settings)])).expect("good settings");
    check_tools(&registry.tools().await.remove(0).tools.expect("the server works"));
    Box::pin(check_calls(&registry)).await;

    server.process.kill().await.expect("it runs");
    let error = call(&registry, "echo", json!({"message": "?"})).await.expect_err("it is gone");
    assert!(matches!(error, McpError::Unavailable { .. }), "{error:?}");
    registry.close().await;
}

impl HttpServer {
    async fn start(script: &Path) -> Self {
        let mut node = Command::new("node");
        node.args(["--import", LOOPBACK_ONLY]).arg(script).arg("streamableHttp");
        node.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = node.spawn().expect("node was found before");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let port = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if let Some(port) = line.strip_prefix("LISTENING ") {
                    return port.to_owned();
                }
            }
            panic!("the server ended before it listened");
        });
        let port = port.await.expect("the server starts in time");
        Self { process, url: format!("http://127.0.0.1:{port}/mcp"), _stderr: lines }
    }
}

fn program(command: &[&str]) -> McpServerSettings {
    let command = command.iter().map(|&part| part.to_owned()).collect();
    McpServerSettings::Stdio { command, env: BTreeMap::new(), cwd: None, timeout: PATIENCE }
}

fn check_tools(tools: &[McpTool]) {
    let echo = tools.iter().find(|tool| tool.name == "echo").expect("the server has it");
    assert_eq!(echo.server, "everything");
    assert!(!echo.description.is_empty());
    assert_eq!(echo.input_schema["properties"]["message"]["type"], "string");
    // Offered only to clients that can ask a person or a model, which this one does not claim.
    assert!(!tools.iter().any(|tool| tool.name.starts_with("trigger-sampling")), "{tools:?}");
}

async fn check_calls(registry: &McpRegistry) {
    let output = call(registry, "echo", json!({"message": "grüß dich"})).await.expect("it works");
    assert_eq!((output.text.as_str(), output.is_error), ("Echo: grüß dich", false));

    let output = call(registry, "get-structured-content", json!({"location": "Chicago"})).await;
    let structured = output.expect("it works").structured.expect("data");
    assert_eq!(structured["conditions"], "Light rain / drizzle");

    let output = call(registry, "get-tiny-image", Value::Null).await.expect("it works");
    assert!(output.content.iter().any(|block| block["type"] == "image"), "{:?}", output.content);

    // Servers differ in how they refuse: as an error of the protocol, or as a tool that failed.
    match call(registry, "get-sum", json!({"a": "one"})).await {
        Ok(output) => assert!(output.is_error, "{output:?}"),
        Err(error) => assert!(matches!(error, McpError::Refused { .. }), "{error:?}"),
    }

    let cancel = CancellationToken::new();
    let arguments = json!({"duration": 600, "steps": 1});
    let long = registry.call("everything", "trigger-long-running-operation", arguments, &cancel);
    let (long, short) = tokio::join!(long, async {
        let short = call(registry, "get-sum", json!({"a": 2, "b": 3})).await;
        cancel.cancel();
        short
    });
    assert_eq!(short.expect("the long one does not hold it up").text, "The sum of 2 and 3 is 5.");
    assert!(matches!(long, Err(McpError::Cancelled)), "{long:?}");
}

async fn call(registry: &McpRegistry, tool: &str, arguments: Value) -> Result<McpOutput, McpError> {
    registry.call("everything", tool, arguments, &CancellationToken::new()).await
}
