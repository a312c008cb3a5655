//! Tools: whether a worker may call one, and who runs it, a server of the gateway or the client.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    AskError, NoAnswer, Pending, Task,
    emitter::check_name,
    mcp::{McpError, McpOutput},
};
use crate::model::{Answer, Request, RequestId, limits};

/// Characters of a call's arguments that are shown to who decides on it.
const SUMMARY_CHARS: usize = 2000;

/// Which tools workers may call: `[tools]` of the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolSettings {
    /// For tools that no rule names.
    pub default: Verdict,
    /// The first rule that fits counts.
    pub rules: Vec<ToolRule>,
}

/// One rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolRule {
    /// Names of tools; `*` stands for any text, `?` for one character, `{a,b}` for either. A tool of an MCP server is named
    /// `SERVER/TOOL`.
    pub tool: String,
    /// What holds for them.
    pub policy: Verdict,
}

/// Whether a tool may be called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At once.
    #[default]
    Allow,
    /// When somebody has approved the call.
    RequireApproval,
    /// Never; nobody hears of the call but the worker and the run's log.
    Block,
}

/// A pattern of the configuration is none.
#[derive(Debug, Clone, thiserror::Error)]
#[error("tools.rules: `{pattern}` is no pattern: {problem}")]
pub struct BadToolPattern {
    pattern: String,
    problem: String,
}

/// The rules, ready for use.
#[derive(Debug, Default)]
pub struct ToolPolicy {
    default: Verdict,
    rules: Vec<(GlobMatcher, Verdict)>,
}

/// A call that a worker makes.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// Names the call within its run; at most [`limits::REQUEST_ID_BYTES`].
    pub id: String,
    /// The tool: `SERVER/TOOL` of a configured MCP server, or any tool that the client has.
    pub name: String,
    /// What the tool is given; at most [`limits::ANSWER_BYTES`].
    pub args: Value,
}

/// Why a call has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ToolError {
    /// The rules are against it.
    #[error("the tool is blocked")]
    Blocked,
    /// Somebody decided against it.
    #[error("the call was rejected{}", if reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Rejected {
        /// Why; may be empty.
        reason: String,
    },
    /// Nobody decided in time.
    #[error("nobody approved the call in time")]
    ApprovalTimeout,
    /// The client gave no result in time.
    #[error("the tool gave no result in time")]
    Timeout,
    /// The tool itself failed, in its own words.
    #[error("{0}")]
    Failed(String),
    /// The call cannot be made.
    #[error(transparent)]
    NotAsked(#[from] AskError),
    /// The run ends.
    #[error("the run waits no more")]
    Stopped,
}

impl ToolPolicy {
    /// The rules of the configuration.
    pub fn new(settings: &ToolSettings) -> Result<Self, BadToolPattern> {
        let rule = |rule: &ToolRule| match Glob::new(&rule.tool) {
            Ok(glob) => Ok((glob.compile_matcher(), rule.policy)),
            Err(error) => {
                Err(BadToolPattern { pattern: rule.tool.clone(), problem: error.kind().to_string() })
            }
        };
        let rules = settings.rules.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { default: settings.default, rules })
    }

    /// Whether the tool `name` may be called.
    pub fn verdict(&self, name: &str) -> Verdict {
        let rule = self.rules.iter().find(|(glob, _)| glob.is_match(name));
        rule.map_or(self.default, |it| it.1)
    }
}

impl ToolError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Rejected { .. } => "rejected",
            Self::ApprovalTimeout => "approval_timeout",
            Self::Timeout => "tool_timeout",
            Self::Failed(_) => "tool_failed",
            Self::NotAsked(_) => "bad_request",
            Self::Stopped => "stopped",
        }
    }
}

/// Calls a tool, as soon as it may be called: on its MCP server where it has one, else it asks the client.
pub async fn call_tool(task: &Task, call: ToolCall) -> Result<Value, ToolError> {
    check_name(&call.id)?;
    permit_tool(task, &call).await?;
    if let Some((server, tool)) = on_server(task, &call.name) {
        return call_server(task, server, tool, &call.args).await.map_err(ToolError::Failed);
    }
    let request = Request::Tool { tool_name: call.name, args: call.args };
    let pending = task.emitter.ask(RequestId(call.id), request).await?;
    tool_result(answer(task, pending).await)
}

/// Returns when a call may be made; asks for an approval where the rules want one.
pub async fn permit_tool(task: &Task, call: &ToolCall) -> Result<(), ToolError> {
    match task.context.tool_policy().verdict(&call.name) {
        Verdict::Allow => return Ok(()),
        Verdict::Block => {
            let told = format!("the call of the tool {} is blocked", call.name);
            // A run that takes no more events ends anyway.
            drop(task.emitter.log(told).await);
            return Err(ToolError::Blocked);
        }
        Verdict::RequireApproval => {}
    }
    let (approval_id, request) = approval_of(call);
    let pending = task.emitter.ask(approval_id, request).await?;
    permission(answer(task, pending).await)
}

/// What is asked before a call that somebody has to approve.
pub(super) fn approval_of(call: &ToolCall) -> (RequestId, Request) {
    let arguments = beginning(&call.args.to_string());
    let request = Request::Approval {
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        summary: format!("{}({arguments})", call.name),
    };
    let approval_id = format!("ap_{}", call.id);
    // Approvals have names of their own, so that of the call will do as well.
    let approval_id =
        if approval_id.len() > limits::REQUEST_ID_BYTES { call.id.clone() } else { approval_id };
    (RequestId(approval_id), request)
}

/// What the answer to [`approval_of`] a call means for it.
pub(super) fn permission(answer: Result<Answer, NoAnswer>) -> Result<(), ToolError> {
    match answer {
        Ok(Answer::Approved { .. }) => Ok(()),
        Ok(Answer::Rejected { reason }) => Err(ToolError::Rejected { reason }),
        Ok(_) | Err(NoAnswer::Stopped) => Err(ToolError::Stopped),
        Err(NoAnswer::Expired) => Err(ToolError::ApprovalTimeout),
    }
}

/// Waits for the answer as long as the worker is to work.
async fn answer(task: &Task, pending: Pending) -> Result<Answer, NoAnswer> {
    tokio::select! {
        biased;
        answer = pending.answer() => answer,
        () = task.cancel.cancelled() => Err(NoAnswer::Stopped),
    }
}

/// What the client's answer to a call means for it.
pub(super) fn tool_result(answer: Result<Answer, NoAnswer>) -> Result<Value, ToolError> {
    match answer {
        Ok(Answer::Tool(result)) => Ok(result),
        Ok(Answer::ToolFailed(error)) => Err(ToolError::Failed(error)),
        Ok(_) | Err(NoAnswer::Stopped) => Err(ToolError::Stopped),
        Err(NoAnswer::Expired) => Err(ToolError::Timeout),
    }
}

/// The MCP server of a tool and the tool's name there, where such a server is configured.
pub(super) fn on_server<'a>(task: &Task, name: &'a str) -> Option<(&'a str, &'a str)> {
    name.split_once('/').filter(|(server, _)| task.context.tools().has(server))
}

/// Calls a tool of an MCP server; gives its result, or why there is none.
pub(super) async fn call_server(
    task: &Task,
    server: &str,
    tool: &str,
    args: &Value,
) -> Result<Value, String> {
    match task.context.tools().call(server, tool, args.clone(), &task.cancel).await {
        Ok(McpOutput { is_error: true, text, .. }) => Err(text),
        Ok(McpOutput { text, structured, content, .. }) => {
            Ok(json!({"text": text, "structured": structured, "content": content}))
        }
        // The worker is no client: what the server said helps it to do better next time.
        Err(error) => Err(match &error {
            McpError::Refused { said, .. } => format!("{error}: {said}"),
            _ => error.to_string(),
        }),
    }
}

/// What is shown of the arguments to who decides. What is not shown is told: it may matter most.
fn beginning(arguments: &str) -> String {
    let mut rest = arguments.chars();
    let shown: String = rest.by_ref().take(SUMMARY_CHARS).collect();
    match rest.count() {
        0 => shown,
        more => format!("{shown} … [{more} more characters are not shown]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let settings: ToolSettings = toml::from_str(
            r#"
            default = "require_approval"
            rules = [
                { tool = "files/read_*", policy = "allow" },
                { tool = "{shell,exec}*", policy = "block" },
                { tool = "files/*", policy = "require_approval" },
                { tool = "ask?", policy = "allow" },
            ]
            "#,
        )
        .unwrap();
        let policy = ToolPolicy::new(&settings).unwrap();
        for (name, verdict) in [
            ("files/read_text", Verdict::Allow),
            ("files/write", Verdict::RequireApproval),
            ("shell", Verdict::Block),
            ("exec/anything", Verdict::Block),
            ("ask1", Verdict::Allow),
            ("ask12", Verdict::RequireApproval),
        ] {
            assert_eq!(policy.verdict(name), verdict, "{name}");
        }
    }

    #[test]
    fn what_is_not_shown_of_long_arguments_is_told() {
        let short = "ä".repeat(SUMMARY_CHARS);
        assert_eq!(beginning(&short), short);
        assert_eq!(beginning(&format!("{short}bcd")), format!("{short} … [3 more characters are not shown]"));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let rules = vec![ToolRule { tool: "a{b".to_owned(), policy: Verdict::Block }];
        let error = ToolPolicy::new(&ToolSettings { rules, ..ToolSettings::default() }).unwrap_err();
        assert!(error.to_string().contains("`a{b` is no pattern"), "{error}");
    }
}
