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
    key("run.retention", "duration", "How long a run can be read after its end"),
    key(
        "run.memory_per_run",
        "bytes",
        "What the log of one run may take in memory; a run that reaches it ends with an error",
    ),
    key(
        "run.memory_total",
        "bytes",
        "What all logs may take in memory; beyond it runs that ended first are dropped, then starts refused",
    ),
    key("runner.parallel", "number", "Workers of one run at work at a time"),
    key("runner.timeout", "duration", "After so long a worker has failed, unless it sets a time of its own"),
    key("runner.cancel_grace", "duration", "From the request to stop to the use of force"),
    key("session.retention", "duration", "Sessions that nobody has used for so long are forgotten"),
];
