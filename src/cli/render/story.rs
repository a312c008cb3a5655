//! What a run's events say to a person. Where and in which colours it is shown is for others to decide.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{graph, style::Tone, text};
use crate::wire::{
    self,
    v1::{self, EventType, RunState, client_view::Content, watch_run_response::Detail},
};

/// Characters of a result that are shown; `--json` shows all.
const RESULT_CHARS: usize = 2000;

/// Workers whose state is remembered; of more, changes are shown again and again.
const WORKERS: usize = 4096;

/// Bytes of streamed text that are remembered, to tell whether a view repeats them.
const STREAMED_BYTES: usize = 1 << 20;

/// The message of a COMPLETE that stands for a question; the question is in the events before.
const INPUT_REQUIRED: &str = "INPUT_REQUIRED";

/// Reads a run's events in their order.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// What runs; its own worker is the run, so little is said of it.
    pipeline: String,
    run_id: String,
    view: Option<v1::ClientView>,
    streamed: String,
    said: String,
    workers: BTreeMap<String, Standing>,
    state: Option<RunState>,
    began: Option<prost_types::Timestamp>,
    percent: i32,
}

/// Where a worker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its state's name.
    pub(super) state: String,
    /// 0 to 100, of the worker alone.
    pub(super) percent: i32,
}

/// A line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// How it is meant.
    pub(super) tone: Tone,
    /// What is said; made safe, may have line breaks.
    pub(super) text: String,
    /// Where it belongs.
    pub(super) place: Place,
}

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the story.
    Story,
    /// Where progress is shown, if that has a place of its own: states and the like.
    Progress,
    /// Below the end of the story: views and results.
    Below,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Lines, or nothing.
    Lines(Vec<Line>),
    /// A piece of text that continues the one before.
    Piece(String),
}

impl Line {
    fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { tone, text: text::safe(text.as_ref()).trim_end().to_owned(), place: Place::Story }
    }

    fn moving(text: impl AsRef<str>) -> Self {
        Self { place: Place::Progress, ..Self::new(Tone::Quiet, text) }
    }

    fn below(text: impl AsRef<str>) -> Self {
        Self { place: Place::Below, ..Self::new(Tone::Normal, text) }
    }
}

impl Story {
    /// The story of runs of `pipeline`, one after the other.
    pub(super) fn new(pipeline: &str) -> Self {
        Self { pipeline: text::one_line(pipeline), ..Self::default() }
    }

    /// What runs.
    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Progress of the run, 0 to 100.
    pub(super) fn percent(&self) -> i32 {
        self.percent
    }

    /// The state of the run, when an event told it.
    pub(super) fn state(&self) -> Option<RunState> {
        self.state
    }

    /// The workers that are at work.
    pub(super) fn at_work(&self) -> impl Iterator<Item = (&str, &Standing)> {
        self.workers.iter().filter(|(_, it)| it.state == "running").map(|(key, it)| (key.as_str(), it))
    }

    /// What the event says after those before it.
    pub(super) fn tell(&mut self, event: &v1::WatchRunResponse) -> Said {
        if event.run_id != self.run_id {
            *self = Self { run_id: event.run_id.clone(), ..Self::new(&self.pipeline) };
        }
        let further = event.progress_percent != self.percent;
        self.percent = event.progress_percent.clamp(0, 100);
        if event.sequence == 1 {
            self.began = event.time;
        }
        if event.client_view.is_some() {
            self.view.clone_from(&event.client_view);
        }
        if let Some(Detail::Delta(delta)) = &event.detail {
            return self.piece(&delta.text);
        }
        let lines = match event.event_type() {
            EventType::Progress if event.message.is_empty() => {
                if further {
                    vec![Line::moving("")]
                } else {
                    Vec::new()
                }
            }
            EventType::Complete => self.complete(event),
            EventType::Error => vec![error_line(event)],
            EventType::Cancelled => vec![ended_line("cancelled", &event.message)],
            _ => match &event.detail {
                Some(detail) => self.detail(detail, event),
                None if event.message.is_empty() => Vec::new(),
                None => vec![Line::new(Tone::Normal, &event.message)],
            },
        };
        if event.event_type() == EventType::Log {
            self.said.clone_from(&event.message);
        }
        Said::Lines(lines)
    }

    fn piece(&mut self, piece: &str) -> Said {
        if self.streamed.len() + piece.len() <= STREAMED_BYTES {
            self.streamed.push_str(piece);
        }
        Said::Piece(text::safe(piece))
    }

    fn detail(&mut self, detail: &Detail, event: &v1::WatchRunResponse) -> Vec<Line> {
        match detail {
            Detail::State(it) => self.enter(it, &event.message),
            Detail::Node(it) => self.node(it),
            Detail::InputRequired(it) => vec![Line::new(Tone::Asking, format!("? {}", it.prompt))],
            Detail::ToolRequest(it) => {
                let args = it.args.as_ref().map(|it| wire::json_value(it).to_string()).unwrap_or_default();
                let args = text::cut(&args, RESULT_CHARS);
                vec![Line::new(Tone::Asking, format!("? waits for the tool {}({args})", it.tool_name))]
            }
            Detail::ApprovalRequired(it) => {
                let text = format!("? waits for approval of {}: {}", it.tool_name, it.summary);
                vec![Line::new(Tone::Asking, text)]
            }
            Detail::Queue(it) => {
                let ahead = if it.ahead == 1 { "1 run".to_owned() } else { format!("{} runs", it.ahead) };
                let mut text = format!("queued behind {ahead}");
                if !it.reason.is_empty() {
                    text = format!("{text}: {}", it.reason);
                }
                vec![Line::new(Tone::Quiet, text)]
            }
            _ if event.message.is_empty() => Vec::new(),
            _ => vec![Line::new(Tone::Normal, &event.message)],
        }
    }

    /// The end has events of its own.
    fn enter(&mut self, entered: &v1::StateDetail, message: &str) -> Vec<Line> {
        let state = entered.state();
        self.state = Some(state);
        match state {
            RunState::Queued if entered.attempt > 1 => {
                // Its workers are gone; what they have said begins anew.
                self.workers.clear();
                self.streamed.clear();
                vec![Line::new(Tone::Normal, format!("↻ attempt {}: {message}", entered.attempt))]
            }
            RunState::Succeeded | RunState::Failed | RunState::Cancelled | RunState::Unspecified => {
                Vec::new()
            }
            state => vec![Line::moving(text::state_name(state))],
        }
    }

    fn node(&mut self, node: &v1::NodeDetail) -> Vec<Line> {
        let standing = Standing { state: node.state.clone(), percent: node.progress_percent };
        let known = self.workers.contains_key(&node.worker_key) || self.workers.len() < WORKERS;
        let before = if known { self.workers.insert(node.worker_key.clone(), standing) } else { None };
        if before.is_some_and(|it| it.state == node.state) {
            return Vec::new();
        }
        let key = &node.worker_key;
        let mut line = match node.state.as_str() {
            "succeeded" => Line::new(Tone::Good, format!("✓ {key}")),
            "cached" => Line::new(Tone::Good, format!("✓ {key} (from the cache)")),
            "failed" if node.error.is_empty() => Line::new(Tone::Bad, format!("✗ {key}")),
            "failed" => Line::new(Tone::Bad, format!("✗ {key}: {}", node.error)),
            "running" => Line::moving(format!("▸ {key}")),
            other => Line::new(Tone::Quiet, format!("- {key} {other}")),
        };
        if key.eq_ignore_ascii_case(&self.pipeline) {
            line.place = Place::Progress;
        }
        vec![line]
    }

    fn complete(&mut self, event: &v1::WatchRunResponse) -> Vec<Line> {
        let mut lines = Vec::new();
        let view = self.view.take();
        let drawn = match view.as_ref().and_then(|it| it.content.as_ref()) {
            Some(Content::Graph(it)) => graph::lines(it),
            Some(Content::LlmResponse(text)) if !self.repeats(text, &event.message) => {
                vec![text.clone()]
            }
            _ => Vec::new(),
        };
        if event.message == INPUT_REQUIRED {
            lines.extend(drawn.into_iter().map(Line::below));
            return lines;
        }
        let took = match (self.began, event.time) {
            (Some(began), Some(ended)) => format!(" ({})", text::between(began, ended)),
            _ => String::new(),
        };
        let message = match event.message.trim_end() {
            "" | "COMPLETE" => "completed",
            message => message,
        };
        lines.push(Line::new(Tone::Good, format!("✓ {message}{took}")));
        let shows_graph = !drawn.is_empty();
        lines.extend(drawn.into_iter().map(Line::below));
        if !shows_graph && let Some(Detail::Result(result)) = &event.detail {
            lines.extend(result.output.as_ref().and_then(result_line));
        }
        lines
    }

    /// True when the person has read the text already.
    fn repeats(&self, text: &str, message: &str) -> bool {
        let text = text.trim();
        [self.streamed.trim(), self.said.trim(), message.trim()].contains(&text)
    }
}

fn result_line(output: &prost_types::Value) -> Option<Line> {
    let shown = match wire::json_value(output) {
        Value::Null => return None,
        Value::String(text) => text,
        other => other.to_string(),
    };
    let cut: String = shown.chars().take(RESULT_CHARS).collect();
    let more = if cut.len() < shown.len() { " … (--json shows all of it)" } else { "" };
    Some(Line::below(format!("{cut}{more}")))
}

fn error_line(event: &v1::WatchRunResponse) -> Line {
    let Some(Detail::Error(error)) = &event.detail else {
        return Line::new(Tone::Bad, format!("✗ {}", event.message));
    };
    let message = if error.message.is_empty() { &event.message } else { &error.message };
    let again = if error.retryable { "; trying again may help" } else { "" };
    Line::new(Tone::Bad, format!("✗ {message} ({}{again})", error.code))
}

fn ended_line(how: &str, message: &str) -> Line {
    let message = message.trim();
    if message.is_empty() || message.eq_ignore_ascii_case(how) {
        return Line::new(Tone::Bad, format!("■ {how}"));
    }
    Line::new(Tone::Bad, format!("■ {how}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: EventType, message: &str, detail: Option<Detail>) -> v1::WatchRunResponse {
        v1::WatchRunResponse {
            event_type: event_type.into(),
            message: message.to_owned(),
            detail,
            ..Default::default()
        }
    }

    fn texts(said: Said) -> Vec<String> {
        let Said::Lines(lines) = said else { panic!("{said:?}") };
        lines.into_iter().map(|it| it.text).collect()
    }

    fn node(key: &str, state: &str, error: &str) -> v1::WatchRunResponse {
        let detail = v1::NodeDetail {
            worker_key: key.into(),
            state: state.into(),
            progress_percent: 5,
            error: error.into(),
        };
        event(EventType::Node, "", Some(Detail::Node(detail)))
    }

    #[test]
    fn a_worker_is_told_of_when_its_state_changes() {
        let mut story = Story::default();
        assert_eq!(texts(story.tell(&node("a", "running", ""))), ["▸ a"]);
        assert_eq!(texts(story.tell(&node("a", "running", ""))), [""; 0]);
        assert_eq!(story.at_work().map(|it| it.0).collect::<Vec<_>>(), ["a"]);
        assert_eq!(texts(story.tell(&node("a", "failed", "no disk"))), ["✗ a: no disk"]);
        assert_eq!(story.at_work().count(), 0);
    }

    #[test]
    fn the_run_itself_is_shown_as_progress_and_the_next_run_begins_anew() {
        let mut story = Story::new("Count");
        let Said::Lines(lines) = story.tell(&node("count", "succeeded", "")) else { panic!("lines") };
        assert_eq!(lines[0].place, Place::Progress);
        let next = v1::WatchRunResponse { run_id: "run_2".into(), ..node("count", "succeeded", "") };
        assert_eq!(texts(story.tell(&next)), ["✓ count"]);
    }

    #[test]
    fn another_attempt_is_told_and_its_workers_begin_anew() {
        let mut story = Story::default();
        story.tell(&node("a", "running", ""));
        let queued = v1::StateDetail { state: RunState::Queued.into(), attempt: 2 };
        let queued = event(EventType::State, "it begins again", Some(Detail::State(queued)));
        assert_eq!(texts(story.tell(&queued)), ["↻ attempt 2: it begins again"]);
        assert_eq!(story.at_work().count(), 0);
        assert_eq!(texts(story.tell(&node("a", "running", ""))), ["▸ a"]);
    }

    #[test]
    fn an_error_is_told_with_its_code() {
        let error = v1::RunError { code: "worker_failed".into(), message: "exit 3".into(), retryable: true };
        let said = Story::default().tell(&event(EventType::Error, "exit 3", Some(Detail::Error(error))));
        assert_eq!(texts(said), ["✗ exit 3 (worker_failed; trying again may help)"]);
    }

    #[test]
    fn the_end_shows_the_last_view_and_how_long_it_took() {
        let mut story = Story::default();
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let graph = v1::GraphView {
            nodes: vec![v1::GraphNode { uid: "a".into(), label: "A".into(), ..Default::default() }],
            edges: vec![],
        };
        let view = v1::ClientView { phase: String::new(), content: Some(Content::Graph(graph)) };
        let first = v1::WatchRunResponse {
            sequence: 1,
            time: at(1),
            client_view: Some(view),
            ..event(EventType::Log, "begin", None)
        };
        story.tell(&first);
        let last = v1::WatchRunResponse { time: at(3), ..event(EventType::Complete, "Done", None) };
        let lines = texts(story.tell(&last));
        assert_eq!(lines[0], "✓ Done (2.0s)");
        assert!(lines[1].contains("1 node") && lines[2].contains('A'), "{lines:?}");
    }

    #[test]
    fn a_question_in_words_is_asked_once() {
        let view = v1::ClientView {
            phase: String::new(),
            content: Some(Content::LlmResponse("What do you want?".to_owned())),
        };
        let ended = v1::WatchRunResponse {
            client_view: Some(view),
            ..event(EventType::Complete, INPUT_REQUIRED, None)
        };
        assert_eq!(texts(Story::default().tell(&ended)), ["What do you want?"]);
        let mut story = Story::default();
        for piece in ["What do ", "you want?\n"] {
            let delta = Some(Detail::Delta(v1::DeltaDetail { text: piece.to_owned() }));
            assert_eq!(story.tell(&event(EventType::Delta, "", delta)), Said::Piece(piece.to_owned()));
        }
        assert_eq!(texts(story.tell(&ended)), [""; 0]);
    }

    #[test]
    fn a_long_result_is_cut_and_the_cut_is_told() {
        let result = |text: String| {
            let output = Some(wire::value(&Value::String(text)));
            event(EventType::Complete, "Done", Some(Detail::Result(v1::ResultDetail { output, usage: None })))
        };
        assert_eq!(texts(Story::default().tell(&result("42".into())))[1], "42");
        let long = texts(Story::default().tell(&result("x".repeat(RESULT_CHARS + 1)))).remove(1);
        assert!(long.ends_with("(--json shows all of it)"), "{long}");
    }

    #[test]
    fn what_is_said_cannot_move_the_cursor() {
        let said = Story::default().tell(&event(EventType::Log, "a\u{1b}[1Ab", None));
        assert_eq!(texts(said), ["a[1Ab"]);
    }
}
