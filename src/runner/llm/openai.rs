//! The client of servers that speak OpenAI's Chat Completions over HTTP.
//!
//! Source of the protocol: the reference of `POST /chat/completions` with `stream: true`, and what compatible servers
//! make of it. Redirects are not followed: the key goes to the configured address alone.

use async_trait::async_trait;
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    BadResponse, Completion, LanguageModel, LlmError, LlmSettings, LlmSettingsError, Message, OnDelta,
    Prompt, Role, Unavailable, Waited,
    answer::Answer,
    retry,
    sse::{SseDecoder, TooLong},
};
use crate::{runner::http, runtime::clock};

/// What is read of the body of an error, to log it. The rest is left unread.
const ERROR_BODY_BYTES: usize = 16 << 10;
/// What is logged of it.
const ERROR_TEXT_CHARS: usize = 500;
/// What an event or a document may hold beside the text of the answer.
const ENVELOPE_BYTES: usize = 64 << 10;
/// JSON writes a byte of text with at most so many.
const JSON_GROWTH: usize = 6;

/// A language model behind an OpenAI-compatible server. Cheap to share; connections are kept and used again.
pub struct OpenAiCompatible {
    client: Client,
    endpoint: Url,
    settings: LlmSettings,
}

impl OpenAiCompatible {
    /// Checks the settings; nothing is connected before the first call.
    pub fn new(settings: LlmSettings) -> Result<Self, LlmSettingsError> {
        settings.check()?;
        let endpoint = settings.endpoint()?;
        let loopback = http::is_loopback(&endpoint);
        let client = http::client(loopback)
            .connect_timeout(settings.connect_timeout)
            .redirect(redirect::Policy::none())
            .default_headers(headers(&settings)?);
        if !loopback && endpoint.scheme() == "http" && !settings.api_key.is_empty() {
            tracing::warn!("llm.base_url is plain http: the key and all texts can be read on the way");
        }
        let client = client.build().map_err(LlmSettingsError::Client)?;
        Ok(Self { client, endpoint, settings })
    }

    /// Calls until an answer has come, or trying again makes no sense. Only until the first piece was handed on: the
    /// caller cannot take it back.
    async fn complete_with_retries(
        &self,
        body: &Value,
        on_delta: OnDelta<'_>,
        deadline: Instant,
    ) -> Result<Completion, LlmError> {
        let mut retry = 0;
        loop {
            let mut answer = Answer::new(self.settings.max_output_bytes);
            let called = self.call_once(body, &mut answer, on_delta).await;
            let handed_on = answer.has_text();
            let error = match called.and_then(|()| answer.finish()) {
                Ok(completion) => return Ok(completion),
                Err(error) if handed_on => return Err(error),
                Err(error) => error,
            };
            let pause = retry::pause(&error, retry, retry::chance());
            match pause
                .filter(|pause| retry < self.settings.max_retries && Instant::now() + *pause < deadline)
            {
                None => return Err(error),
                Some(pause) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        ?pause,
                        "the language model is asked again"
                    );
                    tokio::time::sleep(pause).await;
                    retry += 1;
                }
            }
        }
    }

    async fn call_once(
        &self,
        body: &Value,
        answer: &mut Answer,
        on_delta: OnDelta<'_>,
    ) -> Result<(), LlmError> {
        let sent = self.client.post(self.endpoint.clone()).json(body).send();
        let response = timeout(self.settings.idle_timeout, sent)
            .await
            .map_err(|_| LlmError::Timeout(Waited::ForHead))?
            .map_err(|error| LlmError::Unavailable(Unavailable::Connection(error.without_url())))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/event-stream" | "" => self.read_stream(response, answer, on_delta).await,
            "application/json" => answer.take_document(&self.read_document(response).await?, on_delta),
            _ => Err(BadResponse::ContentType.into()),
        }
    }

    async fn read_stream(
        &self,
        mut response: Response,
        answer: &mut Answer,
        on_delta: OnDelta<'_>,
    ) -> Result<(), LlmError> {
        let mut decoder = SseDecoder::new(self.wire_limit());
        let mut events = Vec::new();
        while let Some(bytes) = self.next_bytes(&mut response).await? {
            decoder.feed(&bytes, &mut events).map_err(|TooLong| BadResponse::TooLong)?;
            for event in events.drain(..) {
                answer.take_event(&event, on_delta)?;
                if answer.is_done() {
                    return Ok(());
                }
            }
        }
        decoder.finish(&mut events).map_err(|TooLong| BadResponse::TooLong)?;
        events.iter().try_for_each(|event| answer.take_event(event, on_delta))
    }

    async fn read_document(&self, mut response: Response) -> Result<Vec<u8>, LlmError> {
        let mut document = Vec::new();
        while let Some(bytes) = self.next_bytes(&mut response).await? {
            if document.len() + bytes.len() > self.wire_limit() {
                return Err(BadResponse::TooLong.into());
            }
            document.extend_from_slice(&bytes);
        }
        Ok(document)
    }

    async fn next_bytes(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, LlmError> {
        timeout(self.settings.idle_timeout, response.chunk())
            .await
            .map_err(|_| LlmError::Timeout(Waited::ForPiece))?
            .map_err(|error| LlmError::Unavailable(Unavailable::Broken(error.without_url())))
    }

    /// The error that a status means. What the server says about it is logged, without the key, and goes no further.
    async fn refusal(&self, mut response: Response) -> LlmError {
        let status = response.status();
        let retry_after = retry::retry_after(response.headers(), clock::now());
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = self.next_bytes(&mut response).await {
            body.extend_from_slice(&bytes[..bytes.len().min(ERROR_BODY_BYTES - body.len())]);
            if body.len() == ERROR_BODY_BYTES {
                break;
            }
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text =
            said["error"]["message"].as_str().map_or_else(|| String::from_utf8_lossy(&body), Into::into);
        let text: String = self.settings.api_key.redact(&text).chars().take(ERROR_TEXT_CHARS).collect();
        tracing::warn!(status = status.as_u16(), said = text, "the language model refused a request");
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => LlmError::Unauthorized,
            // Money has run out: the same status as a rate limit, but patience does not help.
            StatusCode::TOO_MANY_REQUESTS if said["error"]["code"] == "insufficient_quota" => {
                LlmError::Refused { status: status.as_u16() }
            }
            StatusCode::TOO_MANY_REQUESTS => LlmError::RateLimited { retry_after },
            StatusCode::REQUEST_TIMEOUT => LlmError::Unavailable(Unavailable::Status(status.as_u16())),
            _ if status.is_server_error() => LlmError::Unavailable(Unavailable::Status(status.as_u16())),
            _ => LlmError::Refused { status: status.as_u16() },
        }
    }

    /// The longest event or document that an answer within bounds can need.
    fn wire_limit(&self) -> usize {
        self.settings.max_output_bytes.saturating_mul(JSON_GROWTH).saturating_add(ENVELOPE_BYTES)
    }

    fn body(&self, prompt: &Prompt) -> Value {
        let mut messages = Vec::with_capacity(prompt.messages.len() + 1);
        if !prompt.system.is_empty() {
            messages.push(json!({"role": "system", "content": prompt.system}));
        }
        messages.extend(prompt.messages.iter().map(message));
        let mut body = Map::new();
        body.insert("model".to_owned(), self.settings.model.as_str().into());
        body.insert("messages".to_owned(), messages.into());
        body.insert("stream".to_owned(), true.into());
        body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        if prompt.json {
            body.insert("response_format".to_owned(), json!({"type": "json_object"}));
        }
        if let Some(max_tokens) = prompt.max_tokens {
            // OpenAI's newer models refuse the old name, other servers do not know the new one.
            let openai = self.endpoint.host_str() == Some("api.openai.com");
            let name = if openai { "max_completion_tokens" } else { "max_tokens" };
            body.insert(name.to_owned(), max_tokens.into());
        }
        body.into()
    }
}

#[async_trait]
impl LanguageModel for OpenAiCompatible {
    async fn complete(
        &self,
        request: Prompt,
        on_delta: OnDelta<'_>,
        cancel: &CancellationToken,
    ) -> Result<Completion, LlmError> {
        let body = self.body(&request);
        let deadline = Instant::now() + self.settings.total_timeout;
        let call = timeout_at(deadline, self.complete_with_retries(&body, on_delta, deadline));
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(LlmError::Cancelled),
            completion = call => completion.unwrap_or(Err(LlmError::Timeout(Waited::InAll))),
        }
    }
}

fn headers(settings: &LlmSettings) -> Result<HeaderMap, LlmSettingsError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    if !settings.api_key.is_empty() {
        let mut key = HeaderValue::try_from(format!("Bearer {}", settings.api_key.reveal()))
            .map_err(|_| LlmSettingsError::BadApiKey)?;
        key.set_sensitive(true);
        headers.insert(AUTHORIZATION, key);
    }
    Ok(headers)
}

fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    json!({"role": role, "content": message.content})
}
