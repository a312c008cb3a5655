//! Every key with its unit and meaning: the table in the documentation, and what misspelt keys are compared with.

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted, as in `run.retention`. A `*` stands for a name that the user chooses.
    pub name: &'static str,
    /// What a value looks like.
    pub unit: &'static str,
    /// What it decides.
    pub text: &'static str,
}

const fn key(name: &'static str, unit: &'static str, text: &'static str) -> Key {
    Key { name, unit, text }
}

/// All keys, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key("listen", "address:port", "Where clients connect; port 0 takes a free one"),
    key(
        "internal_listen",
        "address:port",
        "Where orchestrators and operators connect (`/internal/send`, `/healthz`, `/readyz`); the default does without when the port is taken, unless an orchestrator is configured",
    ),
    key(
        "internal.token",
        "text",
        "What orchestrators must send as a bearer token when they push, and are sent with each call; empty: pushes are taken from everybody while `internal_listen` is on loopback, else from nobody. Better set by `RUNGATE_INTERNAL_TOKEN` than in the file",
    ),
    key("data", "folder", "Where run-time state is kept"),
    key(
        "log.filter",
        "directives",
        "What is logged: a level, or directives such as `info,rungate::run=debug`",
    ),
    key("log.format", "`text` or `json`", "How a line of the log is written"),
    key("connections.max_connections", "number", "Connections at a time; one beyond it is closed at once"),
    key(
        "connections.header_timeout",
        "duration",
        "From the connection to its first bytes, and to the end of each request's headers",
    ),
    key("connections.body_timeout", "duration", "How long a request may fall silent before its end"),
    key(
        "connections.keep_alive_interval",
        "duration",
        "HTTP/2 connections are pinged after so long a silence",
    ),
    key(
        "connections.keep_alive_timeout",
        "duration",
        "A ping that stays unanswered for so long ends the connection",
    ),
    key("connections.max_streams", "number", "Concurrent requests of one HTTP/2 connection"),
    key(
        "connections.write_stall_timeout",
        "duration",
        "A peer that takes nothing for so long while data waits for it is cut; it can resume",
    ),
    key(
        "connections.drain_timeout",
        "duration",
        "From the beginning of the drain until what is still connected is dropped",
    ),
    key(
        "cors.origins",
        "list of origins",
        "Web pages that may call the gateway from a browser, beside its own; `*` stands for any characters but `/`",
    ),
    key(
        "ws.api_key",
        "text",
        "What WebSocket clients must say in their `hello`; empty: nothing. Better set by `RUNGATE_WS_API_KEY` than in the file",
    ),
    key("ws.most_sockets", "number", "WebSockets at a time; one more is refused with 503"),
    key("ws.most_watches", "number", "Runs that one WebSocket watches at a time; one more is an error"),
    key(
        "ws.max_message",
        "bytes",
        "The longest message of a WebSocket client; a longer one closes it with 1009",
    ),
    key(
        "ws.send_queue",
        "bytes",
        "Events that wait to be sent on one WebSocket; beyond it no more are taken from the logs",
    ),
    key(
        "ws.stall_timeout",
        "duration",
        "A WebSocket whose queue is full and whose client takes nothing for so long is closed with 1013; it can resume",
    ),
    key("ws.ping_interval", "duration", "How often WebSocket clients are pinged"),
    key(
        "ws.dead_after",
        "duration",
        "A WebSocket on which nothing has come for so long is closed; more than `ws.ping_interval`",
    ),
    key(
        "run.log",
        "`fsync`, `os` or `memory`",
        "What an event has gone through before anybody sees it: it survives a loss of power, or only the end of the process, or neither",
    ),
    key("run.retention", "duration", "How long a run can be read after its end"),
    key(
        "run.disk_total",
        "bytes",
        "What all files of the log may come to; beyond four fifths of it runs that ended first are dropped, then starts refused",
    ),
    key(
        "run.disk_per_run",
        "bytes",
        "What the log of one run may take on disk; a run that reaches it ends with an error",
    ),
    key(
        "run.most",
        "number",
        "Runs that are kept; beyond it runs that ended first are dropped, then starts refused",
    ),
    key(
        "run.commit_interval",
        "duration, `0ms` to `100ms`",
        "The least time between two commits of the log; what is written meanwhile shares one. A run that begins alone does not wait for it",
    ),
    key(
        "run.cache",
        "bytes",
        "Memory for what was lately written to the log or read from it, so that watchers need no disk",
    ),
    key(
        "run.memory_per_run",
        "bytes",
        "With `run.log = \"memory\"`: what the log of one run may take; a run that reaches it ends with an error",
    ),
    key(
        "run.memory_total",
        "bytes",
        "With `run.log = \"memory\"`: what all logs may take; beyond it runs that ended first are dropped, then starts refused",
    ),
    key(
        "watch.coalesce",
        "duration",
        "`0s`, or from `2ms` to `20ms`: how long a live watcher waits when there is something new, to take more in one write",
    ),
    key(
        "watch.disconnect_grace",
        "duration",
        "A run that was started with `cancel_on_disconnect` is cancelled when nobody has watched it for so long",
    ),
    key("runner.parallel", "number", "Workers of one run at work at a time"),
    key(
        "runner.timeout",
        "duration",
        "After so long a worker has failed, unless it sets a time of its own; time it waits for answers does not count",
    ),
    key("runner.cancel_grace", "duration", "From the request to stop to the use of force"),
    key(
        "workers.*.command",
        "list of texts",
        "A program and its arguments: the worker is started by it, without a shell, in the folder of the configuration file",
    ),
    key(
        "workers.*.orchestrator",
        "URL",
        "Instead of `command`: the base URL of an orchestrator, which is called below `/internal/`",
    ),
    key(
        "workers.*.agent",
        "text",
        "With `orchestrator`: the agent that it is asked for; without it the worker's key",
    ),
    key(
        "workers.*.idle_timeout",
        "duration",
        "With `orchestrator`: when it has said nothing for so long, while nobody is waited for, it has failed; without it `5m`",
    ),
    key("workers.*.description", "text", "One line for people"),
    key(
        "workers.*.requires",
        "list of worker keys",
        "Workers that run before it; their outputs arrive in `inputs`",
    ),
    key("workers.*.timeout", "duration", "After so long it has failed; without it `runner.timeout` counts"),
    key(
        "workers.*.tool_timeout",
        "duration",
        "How long it waits for the result of a client's tool; without it `60s`",
    ),
    key("workers.*.approval_timeout", "duration", "How long it waits for a decision; without it `10m`"),
    key("workers.*.input_timeout", "duration", "How long it waits for words of the person; without it `10m`"),
    key(
        "workers.*.weight",
        "number",
        "Its share of a run's progress, beside the shares of the other workers",
    ),
    key(
        "workers.*.restart",
        "`interrupt`, `rerun` or `resume`",
        "What becomes of its runs that the end of the gateway cuts short: they end with an error, begin again when the gateway is back, or go on where they are (`orchestrator` alone); without it `interrupt`, with `orchestrator` `resume`",
    ),
    key(
        "workers.*.cache_version",
        "text",
        "When set, its output is used again while parameters, inputs and this text stay the same",
    ),
    key(
        "tools.default",
        "`allow`, `require_approval` or `block`",
        "Whether workers may call tools that no rule names",
    ),
    key(
        "tools.rules",
        "list of `{ tool, policy }`",
        "Whether workers may call the tools that the pattern `tool` names (`*`, `?`, `{a,b}`); the first that fits counts",
    ),
    key(
        "repos.roots",
        "list of folders",
        "Folders below which local repositories may lie; without it: any folder while the gateway listens on loopback, else none",
    ),
    key(
        "repos.hosts",
        "list of hosts",
        "Servers that may be cloned from, as `host`, `host:port` or `scheme://host`; a listed one may be private; without it: any public server, by https",
    ),
    key("repos.clone_bytes", "bytes", "What one clone may take on disk"),
    key("repos.clone_timeout", "duration", "How long one clone may take"),
    key(
        "llm.base_url",
        "URL",
        "Where the API is: the address in front of `/chat/completions`, such as `http://127.0.0.1:11434/v1`",
    ),
    key(
        "llm.api_key",
        "text",
        "The key, sent as a bearer token; empty: none is sent. Better set by `RUNGATE_LLM_API_KEY` than in the file",
    ),
    key(
        "llm.model",
        "text",
        "The name of the model as the server knows it; empty: there is no language model",
    ),
    key("llm.connect_timeout", "duration", "How long a connection may take to be made"),
    key(
        "llm.idle_timeout",
        "duration",
        "How long the server may be silent before its answer and between two pieces of it",
    ),
    key("llm.total_timeout", "duration", "How long one call may take with all its retries"),
    key(
        "llm.max_retries",
        "number",
        "How often a call is tried again after a rate limit or a failure of server or connection",
    ),
    key("llm.max_output_bytes", "bytes", "The longest answer; a longer one fails the call"),
    key(
        "mcp.servers.*.command",
        "list of texts",
        "An MCP server that is a program: the program and its arguments",
    ),
    key("mcp.servers.*.env", "table of texts", "Variables of its environment"),
    key("mcp.servers.*.cwd", "folder", "Where it is started"),
    key("mcp.servers.*.url", "URL", "An MCP server that is reached over streamable HTTP"),
    key("mcp.servers.*.bearer", "text", "Sent to it as a bearer token"),
    key(
        "mcp.servers.*.timeout",
        "duration",
        "How long a connection, a list of tools and a call may each take; default 1m",
    ),
    key(
        "session.store",
        "`file` or `memory`",
        "Whether sessions outlive the process: `init_sessions.json` in the data folder, or memory",
    ),
    key(
        "session.most",
        "number",
        "Sessions that are kept at a time; one more is refused until others are forgotten",
    ),
    key("session.retention", "duration", "Sessions that nobody has used for so long are forgotten"),
];
