//! What a server answers: pieces of a stream or one JSON document, gathered into a completion.

use serde::Deserialize;
use serde_json::Value;

use super::{BadResponse, Completion, FinishReason, LlmError, OnDelta, Unavailable};
use crate::model::Usage;

/// The answer as far as it has arrived.
pub(super) struct Answer {
    text: String,
    usage: Usage,
    finish_reason: Option<FinishReason>,
    /// Set by `[DONE]`.
    done: bool,
    limit: usize,
}

/// A chunk of a stream, or the whole document: they differ in `delta` and `message`. Servers leave out nearly
/// everything, or put `null` in its place.
#[derive(Deserialize)]
struct Body {
    choices: Option<Vec<Choice>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Piece>,
    message: Option<Piece>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Piece {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl Answer {
    /// Takes at most `limit` bytes of text.
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), usage: Usage::default(), finish_reason: None, done: false, limit }
    }

    /// True when nothing more is expected.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// True when text was handed on, so that the call cannot be made anew unseen.
    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Takes the data of one event in.
    pub(super) fn take_event(&mut self, data: &[u8], on_delta: OnDelta<'_>) -> Result<(), LlmError> {
        let data = std::str::from_utf8(data).map_err(|_| BadResponse::NotText)?.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        self.take_body(serde_json::from_str(data).map_err(|_| BadResponse::Malformed)?, on_delta)
    }

    /// Takes the one document of a server that does not stream.
    pub(super) fn take_document(&mut self, document: &[u8], on_delta: OnDelta<'_>) -> Result<(), LlmError> {
        let document = std::str::from_utf8(document).map_err(|_| BadResponse::NotText)?;
        let body: Body = serde_json::from_str(document).map_err(|_| BadResponse::Malformed)?;
        if body.error.is_none() && body.choices.as_ref().is_none_or(Vec::is_empty) {
            return Err(BadResponse::NoMessage.into());
        }
        self.take_body(body, on_delta)?;
        self.done = true;
        Ok(())
    }

    /// The completion, when the answer has come to its end.
    pub(super) fn finish(self) -> Result<Completion, LlmError> {
        if !self.done && self.finish_reason.is_none() {
            return Err(LlmError::Unavailable(Unavailable::Incomplete));
        }
        let finish_reason = self.finish_reason.unwrap_or(FinishReason::Other);
        Ok(Completion { text: self.text, usage: self.usage, finish_reason })
    }

    fn take_body(&mut self, body: Body, on_delta: OnDelta<'_>) -> Result<(), LlmError> {
        if let Some(error) = body.error {
            return Err(reported(&error));
        }
        if let Some(tokens) = body.usage {
            self.usage.input_tokens = tokens.prompt_tokens.unwrap_or(self.usage.input_tokens);
            self.usage.output_tokens = tokens.completion_tokens.unwrap_or(self.usage.output_tokens);
        }
        // One answer was asked for; were there more, they would be alternatives to the first.
        let Some(choice) = body.choices.unwrap_or_default().into_iter().next() else { return Ok(()) };
        if let Some(reason) = choice.finish_reason {
            self.finish_reason = Some(FinishReason::read(&reason));
        }
        // Some servers repeat the whole message beside each piece.
        let piece = choice.delta.or(choice.message).and_then(|piece| piece.content).unwrap_or_default();
        if self.text.len() + piece.len() > self.limit {
            return Err(BadResponse::TooLong.into());
        }
        if !piece.is_empty() {
            self.text.push_str(&piece);
            on_delta(&piece);
        }
        Ok(())
    }
}

impl FinishReason {
    fn read(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "content_filter" => Self::ContentFilter,
            _ => Self::Other,
        }
    }
}

/// The error that a server put in the place of an answer whose status said success.
fn reported(error: &Value) -> LlmError {
    let code = &error["code"];
    match code.as_u64().or_else(|| code.as_str().and_then(|code| code.parse().ok())) {
        Some(429) => LlmError::RateLimited { retry_after: None },
        Some(401 | 403) => LlmError::Unauthorized,
        Some(status @ (400 | 402..=499)) => LlmError::Refused { status: status as u16 },
        _ if code == "rate_limit_exceeded" => LlmError::RateLimited { retry_after: None },
        _ => LlmError::Unavailable(Unavailable::Reported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(events: &[&str]) -> (Result<Completion, LlmError>, String) {
        let (mut answer, mut seen) = (Answer::new(20), String::new());
        for event in events {
            if let Err(error) = answer.take_event(event.as_bytes(), &mut |piece| seen.push_str(piece)) {
                return (Err(error), seen);
            }
        }
        (answer.finish(), seen)
    }

    #[test]
    fn nulls_and_absent_fields_are_nothing() {
        let (completion, seen) = take(&[
            r#"{"choices":[],"prompt_filter_results":[]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"delta":{"content":"Hi"}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
            r#"{"usage":{"prompt_tokens":3,"completion_tokens":null}}"#,
            "[DONE]",
        ]);
        let usage = Usage { input_tokens: 3, output_tokens: 0 };
        let expected = Completion { text: "Hi".to_owned(), usage, finish_reason: FinishReason::Length };
        assert_eq!((completion.unwrap(), seen.as_str()), (expected, "Hi"));
    }

    #[test]
    fn an_end_without_a_mark_counts_only_after_a_reason() {
        let said = r#"{"choices":[{"delta":{"content":"Hi"}}]}"#;
        let stopped = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(take(&[said, stopped]).0.unwrap().finish_reason, FinishReason::Stop);
        assert!(matches!(take(&[said]).0, Err(LlmError::Unavailable(Unavailable::Incomplete))));
    }

    #[test]
    fn an_error_in_the_place_of_an_answer_is_told_by_its_code() {
        let code = |error: &str| take(&[&format!(r#"{{"error":{error}}}"#)]).0.unwrap_err().code();
        assert_eq!(code(r#"{"code":429}"#), "llm_rate_limited");
        assert_eq!(code(r#"{"code":"rate_limit_exceeded"}"#), "llm_rate_limited");
        assert_eq!(code(r#"{"code":"401"}"#), "llm_unauthorized");
        assert_eq!(code(r#"{"code":404}"#), "llm_refused");
        assert_eq!(code(r#"{"message":"overloaded"}"#), "llm_unavailable");
        assert_eq!(code(r#""overloaded""#), "llm_unavailable");
    }
}
