//! One live connection to an MCP server.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    Peer, RoleClient, ServiceError,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ClientConfig,
        ContentBlock, Implementation, JsonObject, PaginatedRequestParams, Tool,
    },
    serve_client,
    service::{ClientInitializeError, RunningService},
    transport::async_rw::AsyncRwTransport,
};
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};

use super::{
    McpError, McpOutput, McpServerSettings, McpTool, http,
    process::ProcessGroup,
    stdio::{self, BoundedLines},
};

/// Bytes of one message of a server. A longer one ends the connection, because nothing after it can be trusted.
const MESSAGE_BYTES: usize = 4 << 20;
/// Bytes of a result, as JSON. A larger one fails the call.
pub(super) const RESULT_BYTES: usize = 1 << 20;
/// Tools of one server. Those beyond are passed over: no model chooses well among more.
const TOOLS: usize = 256;
/// Pages of a list of tools. Guards against a server whose list never ends.
const PAGES: usize = 64;
/// Bytes of a tool's name, the bound of the protocol. Tools with longer names are passed over.
const TOOL_NAME_BYTES: usize = 128;
/// Bytes of a tool's description; the rest is cut.
const DESCRIPTION_BYTES: usize = 4 << 10;
/// Bytes of a tool's input schema. Tools with larger ones are passed over.
const SCHEMA_BYTES: usize = 64 << 10;
/// Bytes of what a server said about its refusal; the rest is cut.
const SAID_BYTES: usize = 2 << 10;
/// How long a server may take to let go of a session, before its process is ended or its connection closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that has greeted. Dropped, its process is killed; [`Connection::close`] is the friendlier end.
pub(super) struct Connection {
    server: String,
    peer: Peer<RoleClient>,
    running: Mutex<Option<RunningService<RoleClient, ClientConfig>>>,
    /// The process of a server that is one.
    process: Mutex<Option<ProcessGroup>>,
    /// Set when the server wrote a line beyond [`MESSAGE_BYTES`].
    too_long: Arc<AtomicBool>,
    /// Set when a request could not be sent.
    broken: AtomicBool,
    /// Set when it has answered more than the greeting.
    answered: AtomicBool,
    /// Logs standard error; ends with the connection.
    _stderr: JoinSet<()>,
}

impl Connection {
    /// Starts or reaches the server and greets it.
    pub(super) async fn open(server: &str, settings: &McpServerSettings) -> Result<Self, McpError> {
        match settings {
            McpServerSettings::Stdio { command, env, cwd, .. } => {
                let started = stdio::start(command, env, cwd.as_deref());
                let started = started.map_err(|error| unavailable(server, error))?;
                let too_long = Arc::new(AtomicBool::new(false));
                let stdout = BoundedLines::new(started.stdout, MESSAGE_BYTES, too_long.clone());
                let mut stderr = JoinSet::new();
                stderr.spawn(stdio::log_lines(server.to_owned(), started.stderr));
                let transport = AsyncRwTransport::new_client(stdout, started.stdin);
                let running = Box::pin(serve_client(client_config(), transport)).await;
                Self::greeted(server, running, Some(started.process), too_long, stderr)
            }
            McpServerSettings::Http { url, bearer, .. } => {
                let transport = http::transport(url, bearer, MESSAGE_BYTES);
                let transport = transport.map_err(|error| unavailable(server, error))?;
                let running = Box::pin(serve_client(client_config(), transport)).await;
                Self::greeted(server, running, None, Arc::default(), JoinSet::new())
            }
        }
    }

    fn greeted(
        server: &str,
        running: Result<RunningService<RoleClient, ClientConfig>, ClientInitializeError>,
        process: Option<ProcessGroup>,
        too_long: Arc<AtomicBool>,
        stderr: JoinSet<()>,
    ) -> Result<Self, McpError> {
        let running = running.map_err(|error| match error {
            error if error.is_authorization_required() => {
                McpError::Unauthorized { server: server.to_owned() }
            }
            error => unavailable(server, error),
        })?;
        Ok(Self {
            server: server.to_owned(),
            peer: running.peer().clone(),
            running: Mutex::new(Some(running)),
            process: Mutex::new(process),
            too_long,
            broken: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            _stderr: stderr,
        })
    }

    /// False when another request makes no sense.
    pub(super) fn is_alive(&self) -> bool {
        !self.peer.is_transport_closed() && !self.broken.load(Ordering::Relaxed)
    }

    /// True when it has answered a request after the greeting, be it at too great length, so that its end is no sign of
    /// a server that cannot run.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) || self.too_long.load(Ordering::Relaxed)
    }

    /// The server's tools, up to the bounds above.
    pub(super) async fn tools(&self) -> Result<Vec<McpTool>, McpError> {
        if self.peer.peer_info().is_some_and(|info| info.capabilities.tools.is_none()) {
            return Ok(Vec::new());
        }
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES {
            let page = PaginatedRequestParams::default().with_cursor(cursor);
            let page = self.peer.list_tools(Some(page)).await;
            let page = self.answer(page)?;
            for tool in page.tools {
                if tools.len() == TOOLS {
                    tracing::warn!(server = self.server, bound = TOOLS, "more tools than are listed");
                    return Ok(tools);
                }
                tools.extend(self.tool(tool));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        tracing::warn!(server = self.server, bound = PAGES, "the list of tools has more pages than are read");
        Ok(tools)
    }

    /// Calls a tool. Dropped, it tells the server that nobody waits any more.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Option<JsonObject>,
    ) -> Result<McpOutput, McpError> {
        let mut request = CallToolRequestParams::new(tool.to_owned());
        request.arguments = arguments;
        match self.answer(self.peer.call_tool_once(request).await)? {
            CallToolResponse::Complete(result) => self.output(result),
            // Questions to the person and tasks that go on were not offered in the greeting.
            _ => Err(McpError::BadResponse { server: self.server.clone() }),
        }
    }

    /// Takes leave of the server: its session is ended, its process told to end, and killed when it does not.
    pub(super) async fn close(&self) {
        let running = take(&self.running);
        if let Some(mut running) = running {
            // Closes the input of a process, which is how it is told to end.
            let _ = running.close_with_timeout(CLOSE_TIMEOUT).await;
        }
        let process = take(&self.process);
        if let Some(process) = process {
            process.end().await;
        }
    }

    /// Leaves nothing behind of a server that is not alive any more, whoever still holds the connection.
    pub(super) fn bury(&self) {
        drop(take(&self.running));
        drop(take(&self.process));
    }

    fn tool(&self, tool: Tool) -> Option<McpTool> {
        let schema = Value::Object(Arc::unwrap_or_clone(tool.input_schema));
        let fits = !tool.name.is_empty()
            && tool.name.len() <= TOOL_NAME_BYTES
            && serde_json::to_string(&schema).is_ok_and(|text| text.len() <= SCHEMA_BYTES);
        if !fits {
            let name = cut(&tool.name, TOOL_NAME_BYTES);
            tracing::warn!(server = self.server, tool = name, "a tool whose name or schema is too long");
            return None;
        }
        Some(McpTool {
            server: self.server.clone(),
            name: tool.name.into_owned(),
            description: cut(&tool.description.unwrap_or_default(), DESCRIPTION_BYTES),
            input_schema: schema,
        })
    }

    fn output(&self, result: CallToolResult) -> Result<McpOutput, McpError> {
        let texts = result.content.iter().filter_map(|block| match block {
            ContentBlock::Text(text) => Some(text.text.as_str()),
            _ => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n");
        let (is_error, structured) = (result.is_error.unwrap_or_default(), result.structured_content.clone());
        let bad = |_| McpError::BadResponse { server: self.server.clone() };
        if serde_json::to_string(&result).map_err(bad)?.len() > RESULT_BYTES {
            return Err(McpError::TooLarge { server: self.server.clone() });
        }
        let content =
            result.content.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(bad)?;
        Ok(McpOutput { is_error, text, structured, content })
    }

    /// Sorts the causes of a failure, and notes what it says about the connection.
    fn answer<T>(&self, answer: Result<T, ServiceError>) -> Result<T, McpError> {
        let error = match answer {
            Ok(answer) => {
                self.answered.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(error) => error,
        };
        let server = self.server.clone();
        Err(match error {
            ServiceError::McpError(error) => {
                self.answered.store(true, Ordering::Relaxed);
                McpError::Refused { server, code: error.code.0, said: cut(&error.message, SAID_BYTES) }
            }
            _ if self.too_long.load(Ordering::Relaxed) => McpError::TooLarge { server },
            ServiceError::TransportSend(error) if http::is_too_large(error.error.as_ref()) => {
                self.answered.store(true, Ordering::Relaxed);
                McpError::TooLarge { server }
            }
            ServiceError::TransportSend(error) if http::is_unauthorized(error.error.as_ref()) => {
                McpError::Unauthorized { server }
            }
            error @ (ServiceError::TransportSend(_)
            | ServiceError::TransportClosed
            | ServiceError::Cancelled { .. }) => {
                self.broken.store(true, Ordering::Relaxed);
                unavailable(&server, error)
            }
            ServiceError::Timeout { .. } => McpError::Timeout { server },
            _ => McpError::BadResponse { server },
        })
    }
}

/// Runs one stage of a request within the server's time.
pub(super) async fn within<T>(
    server: &str,
    settings: &McpServerSettings,
    stage: impl Future<Output = Result<T, McpError>>,
) -> Result<T, McpError> {
    let late = |_| McpError::Timeout { server: server.to_owned() };
    timeout(settings.timeout(), stage).await.map_err(late)?
}

fn client_config() -> ClientConfig {
    let program = Implementation::new("rungate", env!("CARGO_PKG_VERSION"));
    ClientConfig::new(ClientCapabilities::default(), program)
}

fn unavailable(server: &str, source: impl std::error::Error + Send + Sync + 'static) -> McpError {
    McpError::Unavailable { server: server.to_owned(), source: Some(Box::new(source)) }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// At most `bytes` of the text, cut between characters.
fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}
