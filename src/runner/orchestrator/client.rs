//! The HTTP API of an orchestrator, as far as the gateway calls it.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use serde_json::Value;
use url::Url;

use super::retry::{Retries, retried};
use crate::{
    model::{RequestId, RunError, limits},
    runner::{http, llm::Secret},
};

/// How long one call may take, its answer included.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of it may go into making the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer. Nothing that is looked at is larger.
const ANSWER_BYTES: usize = 64 << 10;

/// One orchestrator. Cheap to share; connections are kept and used again.
#[derive(Debug, Clone)]
pub(super) struct OrchestratorClient {
    http: Client,
    base: Url,
}

/// Why an orchestrator cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorSettingsError {
    /// The token cannot be sent in a header.
    #[error("internal.token has characters that a header cannot carry")]
    BadToken,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is no connection, so the call has not arrived.
    #[error("it cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It gave no answer in time.
    #[error("it did not answer within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
    /// The connection broke before the answer was there.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// It answered with this status.
    #[error("it answered with status {}", .0.as_u16())]
    Status(StatusCode),
    /// Its answer is not what it should be.
    #[error("its answer names no run")]
    NoRun,
}

impl OrchestratorClient {
    /// Nothing is connected before the first call. `token` is sent with each, if there is one.
    pub(super) fn new(base: Url, token: &Secret) -> Result<Self, OrchestratorSettingsError> {
        let mut headers = HeaderMap::new();
        if !token.is_empty() {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|_| OrchestratorSettingsError::BadToken)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let loopback = http::is_loopback(&base);
        let http = http::client(loopback)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            // The token goes to the configured address alone.
            .redirect(redirect::Policy::none())
            .default_headers(headers);
        if !loopback && base.scheme() == "http" {
            tracing::warn!(%base, "an orchestrator is called over plain http: everything can be read on the way");
        }
        Ok(Self { http: http.build().map_err(OrchestratorSettingsError::Client)?, base })
    }

    /// Starts a run; gives the orchestrator's name of it. Tried again only where the call has not arrived.
    pub(super) async fn invoke(&self, body: &Value) -> Result<String, CallError> {
        let url = self.url(["internal", "invoke"]);
        let call = || self.call(self.http.post(url.clone()).json(body));
        let bytes = retried(Retries::NotArrived, call).await?;
        let answer: Value = serde_json::from_slice(&bytes).map_err(|_| CallError::NoRun)?;
        let run = answer["run_id"].as_str().filter(|it| is_name(it));
        run.map(str::to_owned).ok_or(CallError::NoRun)
    }

    /// Tells the result of a tool call, a decision, or words of the person. May arrive twice; the orchestrator takes the
    /// first.
    pub(super) async fn submit(&self, what: &str, id: &RequestId, body: &Value) -> Result<(), CallError> {
        let url = self.url(["internal", what, &id.0, "submit"]);
        let call = || self.call(self.http.post(url.clone()).json(body));
        match retried(Retries::Safe, call).await {
            // It had been told before, or has stopped waiting.
            Err(CallError::Status(StatusCode::CONFLICT)) => Ok(()),
            told => told.map(drop),
        }
    }

    /// Asks for the end of a run. May arrive twice.
    pub(super) async fn cancel(&self, run: &str) -> Result<(), CallError> {
        let url = self.url(["internal", "runs", run, "cancel"]);
        let body = Value::Object(serde_json::Map::new());
        let call = || self.call(self.http.post(url.clone()).json(&body));
        retried(Retries::Safe, call).await.map(drop)
    }

    async fn call(&self, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        let response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(CallError::Status(response.status()));
        }
        read(response).await
    }

    fn url<const N: usize>(&self, path: [&str; N]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

impl CallError {
    /// True when the orchestrator cannot have seen the call.
    pub(super) fn has_not_arrived(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// True when the same call may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::Broken(_) => true,
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            Self::NoRun => false,
        }
    }

    /// The run's error, when the orchestrator `did_not` do something because of this.
    pub(super) fn run_error(&self, did_not: &str) -> RunError {
        tracing::warn!(error = self as &dyn std::error::Error, "an orchestrator {did_not}");
        let message = format!("the orchestrator {did_not}: {self}");
        RunError { retryable: self.may_pass(), ..RunError::permanent("orchestrator_failed", message) }
    }
}

/// A name that can stand in a path.
pub(super) fn is_name(text: &str) -> bool {
    let bytes = 1..=limits::REQUEST_ID_BYTES;
    bytes.contains(&text.len()) && !matches!(text, "." | "..") && !text.contains(char::is_control)
}

fn failed(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    match error {
        error if error.is_connect() => CallError::Unreachable(error),
        error if error.is_timeout() => CallError::TimedOut,
        error => CallError::Broken(error),
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(failed)? {
        let room = ANSWER_BYTES - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_stay_one_part_of_the_path() {
        let client = |base: &str| OrchestratorClient::new(base.parse().unwrap(), &Secret::default()).unwrap();
        let url = |base: &str, id: &str| client(base).url(["internal", "runs", id, "cancel"]).to_string();
        assert_eq!(url("http://h:1", "run_1"), "http://h:1/internal/runs/run_1/cancel");
        assert_eq!(
            url("http://h:1/base/", "a/../b?c"),
            "http://h:1/base/internal/runs/a%2F..%2Fb%3Fc/cancel"
        );
        for bad in ["", ".", "..", "a\nb", &"x".repeat(129)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [(500, true), (503, true), (429, true), (400, false), (404, false)] {
            let error = CallError::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!((error.may_pass(), error.has_not_arrived()), (again, false), "{status}");
        }
        assert!(CallError::TimedOut.may_pass() && !CallError::TimedOut.has_not_arrived());
    }
}
