//! Which MCP servers there are, and how they are reached.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::optional as duration;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

use crate::runner::llm::Secret;

/// How long a connection, a list and a call may each take when the settings do not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a server's name. It stands in logs, errors and the names of tools.
const NAME_BYTES: usize = 64;

/// An MCP server whose tools workers may call: a program of its own (`command`) or one on the network (`url`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum McpServerSettings {
    /// A program that is started when it is first needed, and spoken to over its standard input and output.
    Stdio {
        /// The program and its arguments, such as `["npx", "some-mcp-server"]`.
        command: Vec<String>,
        /// Variables of its environment, beside the few that every program needs (`PATH`, `HOME`, locale, proxies).
        /// It sees nothing else of the gateway's environment.
        env: BTreeMap<String, Secret>,
        /// The folder it is started in. Left out: the gateway's own.
        cwd: Option<PathBuf>,
        /// How long its start, a list of its tools and a call may each take.
        timeout: Duration,
    },
    /// A server that is reached over streamable HTTP.
    Http {
        /// Its address, such as `https://tools.example.com/mcp`.
        url: String,
        /// Sent as a bearer token. Empty: none is sent.
        bearer: Secret,
        /// How long a connection, a list of its tools and a call may each take.
        timeout: Duration,
    },
}

/// Why the settings of MCP servers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum McpSettingsError {
    /// Neither or both.
    #[error("an MCP server has either `command` or `url`")]
    CommandOrUrl,
    /// Nothing to start.
    #[error("`command` of an MCP server must name a program")]
    NoProgram,
    /// A field of the other kind of server.
    #[error("`{field}` of an MCP server goes with `{goes_with}`")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// What it needs beside it.
        goes_with: &'static str,
    },
    /// Not an address.
    #[error("`url` of an MCP server must be an http or https address without user or password")]
    BadUrl,
    /// Cannot be sent.
    #[error("`bearer` of an MCP server holds characters that cannot be sent in a header")]
    BadBearer,
    /// Nothing would ever be in time.
    #[error("`timeout` of an MCP server must be greater than zero")]
    ZeroTimeout,
    /// Not a name.
    #[error("the name of an MCP server has 1 to {NAME_BYTES} letters, digits, `-` and `_`: `{0}` has not")]
    BadName(String),
}

/// The settings as they are written. The key of each field is checked here, what goes with what in `try_from`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Secret::is_empty")]
    bearer: Secret,
    #[serde(with = "duration")]
    timeout: Option<Duration>,
}

impl McpServerSettings {
    /// How long a connection, a list and a call may each take.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Stdio { timeout, .. } | Self::Http { timeout, .. } => *timeout,
        }
    }
}

impl TryFrom<Fields> for McpServerSettings {
    type Error = McpSettingsError;

    fn try_from(fields: Fields) -> Result<Self, McpSettingsError> {
        let timeout = fields.timeout.unwrap_or(DEFAULT_TIMEOUT);
        if timeout.is_zero() {
            return Err(McpSettingsError::ZeroTimeout);
        }
        let misplaced = |field, goes_with| Err(McpSettingsError::Misplaced { field, goes_with });
        match (fields.command, fields.url) {
            (Some(_), None) if !fields.bearer.is_empty() => misplaced("bearer", "url"),
            (None, Some(_)) if !fields.env.is_empty() => misplaced("env", "command"),
            (None, Some(_)) if fields.cwd.is_some() => misplaced("cwd", "command"),
            (Some(command), None) => match command.first() {
                Some(program) if !program.is_empty() => {
                    Ok(Self::Stdio { command, env: fields.env, cwd: fields.cwd, timeout })
                }
                _ => Err(McpSettingsError::NoProgram),
            },
            (None, Some(url)) => {
                check_url(&url)?;
                let bearer = HeaderValue::try_from(fields.bearer.reveal());
                bearer.map_err(|_| McpSettingsError::BadBearer)?;
                Ok(Self::Http { url, bearer: fields.bearer, timeout })
            }
            _ => Err(McpSettingsError::CommandOrUrl),
        }
    }
}

impl From<McpServerSettings> for Fields {
    fn from(settings: McpServerSettings) -> Self {
        match settings {
            McpServerSettings::Stdio { command, env, cwd, timeout } => {
                Self { command: Some(command), env, cwd, timeout: Some(timeout), ..Self::default() }
            }
            McpServerSettings::Http { url, bearer, timeout } => {
                Self { url: Some(url), bearer, timeout: Some(timeout), ..Self::default() }
            }
        }
    }
}

/// Refuses a name that would be unreadable in a log or ambiguous in the name of a tool.
pub(super) fn check_name(name: &str) -> Result<(), McpSettingsError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(McpSettingsError::BadName(name.to_owned()))
}

fn check_url(url: &str) -> Result<(), McpSettingsError> {
    let url = Url::parse(url).map_err(|_| McpSettingsError::BadUrl)?;
    let anonymous = url.username().is_empty() && url.password().is_none();
    if anonymous && url.has_host() && matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    Err(McpSettingsError::BadUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<McpServerSettings, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_server_is_a_program_or_an_address() {
        let program = read("command = ['npx', 'x']\nenv = { TOKEN = 't' }\ntimeout = '5s'").unwrap();
        assert_eq!(
            program,
            McpServerSettings::Stdio {
                command: vec!["npx".to_owned(), "x".to_owned()],
                env: BTreeMap::from([("TOKEN".to_owned(), Secret::new("t"))]),
                cwd: None,
                timeout: Duration::from_secs(5),
            }
        );
        let address = read("url = 'https://h/mcp'\nbearer = 't'").unwrap();
        let (url, bearer) = ("https://h/mcp".to_owned(), Secret::new("t"));
        assert_eq!(address, McpServerSettings::Http { url, bearer, timeout: DEFAULT_TIMEOUT });
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        for (text, told) in [
            ("", "either `command` or `url`"),
            ("command = ['x']\nurl = 'http://h'", "either `command` or `url`"),
            ("command = []", "must name a program"),
            ("command = ['x']\nbearer = 't'", "`bearer` of an MCP server goes with `url`"),
            ("url = 'http://h'\ncwd = '/'", "`cwd` of an MCP server goes with `command`"),
            ("url = 'http://h'\nenv = { A = '1' }", "`env` of an MCP server goes with `command`"),
            ("url = 'h/mcp'", "`url` of an MCP server"),
            ("url = 'http://u:p@h/mcp'", "`url` of an MCP server"),
            ("url = 'http://h'\nbearer = \"a\\nb\"", "`bearer` of an MCP server"),
            ("command = ['x']\ntimeout = '0s'", "`timeout` of an MCP server"),
            ("comand = ['x']", "comand"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_in_what_is_printed() {
        for text in ["command = ['x']\nenv = { TOKEN = 'hidden' }", "url = 'http://h/'\nbearer = 'hidden'"] {
            let settings = read(text).unwrap();
            let printed = toml::to_string(&settings).unwrap();
            assert!(printed.contains("***") && !printed.contains("hidden"), "{printed}");
            assert!(!format!("{settings:?}").contains("hidden"));
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(check_name("files-2"), Ok(()));
        for bad in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(check_name(bad), Err(McpSettingsError::BadName(bad.to_owned())));
        }
    }
}
