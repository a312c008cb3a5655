//! The MCP registry against a server that others wrote: the public package `@modelcontextprotocol/server-everything`,
//! over standard input and output and over streamable HTTP.
//!
//! `tests/setup` installs the package; without it the trials are reported as ignored.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
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

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    needs, patient_trial, story,
    tools::Tool,
    trial,
};

/// Starting Node on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls tools, one of which lasts; what is there first is answered first.
const PROGRAM: &str = r#"
[workers.caller]
tool_timeout = "100ms"
command = ["sh", "-c", '''
read -r task
call() { printf '{"type":"tool_call","tool_call_id":"%s","tool_name":"everything/%s","args":%s}\n' "$1" "$2" "$3"; }
call slow trigger-long-running-operation '{"duration":600,"steps":1}'
call echo echo '{"message":"grüß dich"}'
read -r echoed
call bad no-such-tool '{}'
read -r refused
printf '{"type":"tool_call","tool_call_id":"x","tool_name":"nobody/echo","args":{}}\n'
read -r unknown
printf '{"type":"result","output":[%s,%s,%s]}\n' "$echoed" "$refused" "$unknown"
''']
"#;

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
    let tools = [Tool::Program("node"), Tool::McpServer];
    let script = || Tool::McpServer.path();
    vec![
        needs(
            &tools,
            patient_trial("mcp::tools_over_standard_input", PATIENCE, move || async move {
                Box::pin(check_stdio(&script())).await;
            }),
        ),
        needs(
            &tools,
            patient_trial("mcp::tools_over_streamable_http", PATIENCE, move || async move {
                Box::pin(check_streamable_http(&script())).await;
            }),
        ),
        needs(&tools, patient_trial("mcp::workers_list_and_call_tools", PATIENCE, workers)),
        needs(&tools, patient_trial("mcp::a_program_calls_tools", PATIENCE, program_calls)),
        trial("mcp::without_servers_there_is_nothing_to_list_or_to_call", no_servers),
    ]
}

/// The server as a program: tools are listed and called, a broken neighbour does not matter, close leaves nothing.
async fn check_stdio(server: &Path) {
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
async fn check_streamable_http(server: &Path) {
    let mut server = HttpServer::start(server).await;
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

/// A gateway with the server, and another that does not start.
async fn gateway() -> (Gateway, Client) {
    let script = Tool::McpServer.path();
    let servers = format!(
        "[mcp.servers.everything]\ncommand = [\"node\", \"{}\", \"stdio\"]\n\
         [mcp.servers.broken]\ncommand = [\"/no/such/program\"]\n",
        script.display()
    );
    let gateway = Setup::default().config(&servers).config(PROGRAM).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

async fn start(client: Client, worker: &str, params: Value) -> String {
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "pipelineId": worker, "params": params});
    let started = client.call("StartRun", request).await.unwrap();
    story::text(&started["runId"]).to_owned()
}

/// The terminal event of a run.
async fn end(client: Client, worker: &str, params: Value) -> Value {
    let run = start(client, worker, params).await;
    story::log_of(client, &run).await.pop().unwrap()
}

async fn workers() {
    let (_gateway, client) = gateway().await;
    let listed = end(client, "mcp_tools", json!({})).await;
    let servers = &listed["result"]["output"]["servers"];
    assert_eq!(servers[0]["error"], "the MCP server `broken` is unavailable", "{listed:#}");
    let tools = servers[1]["tools"].as_array().unwrap();
    let echo = tools.iter().find(|it| it["name"] == "echo").expect("the server has it");
    assert_eq!(echo["input_schema"]["properties"]["message"]["type"], "string");
    let graph = &listed["clientView"]["graph"];
    assert_eq!(graph["edges"].as_array().unwrap().len(), tools.len());
    assert_eq!(graph["nodes"].as_array().unwrap().len(), tools.len() + 2);

    let params = json!({"server": "everything", "tool": "get-sum", "arguments": "{\"a\":2,\"b\":3}"});
    let called = end(client, "mcp_call", params).await;
    assert_eq!(called["result"]["output"]["text"], "The sum of 2 and 3 is 5.", "{called:#}");
    for (params, code) in [
        (json!({"server": "broken", "tool": "x"}), "mcp_unavailable"),
        (json!({"server": "nobody", "tool": "x"}), "mcp_unknown_server"),
        (json!({"server": "everything"}), "bad_params"),
        (json!({"server": "everything", "tool": "echo", "arguments": "no JSON"}), "bad_params"),
        (json!({"server": "everything", "tool": "echo", "arguments": "[]"}), "mcp_bad_arguments"),
    ] {
        assert_eq!(end(client, "mcp_call", params).await["error"]["code"], code);
    }

    let arguments = "{\"duration\":600,\"steps\":1}";
    let tool = "trigger-long-running-operation";
    let long =
        start(client, "mcp_call", json!({"server": "everything", "tool": tool, "arguments": arguments}));
    let long = long.await;
    let begun = Instant::now();
    client.call("CancelRun", json!({"runId": long})).await.unwrap();
    let log = story::log_of(client, &long).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    assert!(begun.elapsed() < Duration::from_secs(4), "without force: {:?}", begun.elapsed());
}

async fn program_calls() {
    let (_gateway, client) = gateway().await;
    let ended = end(client, "caller", json!({})).await;
    let [echoed, refused, unknown] = [0, 1, 2].map(|place| &ended["result"]["output"][place]);
    assert_eq!((&echoed["tool_call_id"], &echoed["ok"]), (&json!("echo"), &json!(true)), "{ended:#}");
    assert_eq!(echoed["result"]["text"], "Echo: grüß dich");
    assert_eq!((&refused["tool_call_id"], &refused["ok"]), (&json!("bad"), &json!(false)), "{ended:#}");
    assert!(!story::text(&refused["error"]).is_empty());
    assert_eq!(unknown["code"], "tool_timeout", "a tool of no server is one of the client's");
}

async fn no_servers() {
    let gateway = Setup::default().start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let listed = end(client, "mcp_tools", json!({})).await;
    assert_eq!(listed["result"]["output"], json!({"servers": []}));
    let called = end(client, "mcp_call", json!({"server": "a", "tool": "b"})).await;
    assert_eq!(called["error"]["message"], "no MCP server is named `a`");
}
