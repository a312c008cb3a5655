//! The internal port: what orchestrators and operators call. Never a part of the public one.

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    middleware::map_request_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    error::{cause_body, cause_response},
    health,
    router::bound_body,
};
use crate::{
    gateway::{Gateway, MalformedField, OperationError as _, PushEvent},
    model::{Cause, Code, Secret, limits},
};

/// Who may push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InternalAccess {
    /// Who has the token.
    Token(Secret),
    /// Everybody who reaches the port: it is on the loopback.
    Everybody,
    /// Nobody: the port is not on the loopback, and there is no token.
    Nobody,
}

/// What operators may set of the internal port.
#[derive(Debug, Clone)]
pub struct InternalSettings {
    /// Who may push.
    pub access: InternalAccess,
    /// How long a request may fall silent before its end.
    pub body_timeout: std::time::Duration,
}

#[derive(Clone)]
struct Internal {
    gateway: Gateway,
    access: InternalAccess,
}

/// A push as it comes.
#[derive(Deserialize)]
struct Send {
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    event: Value,
}

/// The token is missing or another.
#[derive(Debug, thiserror::Error)]
#[error("the token of internal.token is required, as `Authorization: Bearer …`")]
struct BadToken;

/// There is no token that could be sent.
#[derive(Debug, thiserror::Error)]
#[error("beyond the loopback a token is required, and none is configured (internal.token)")]
struct NoToken;

impl InternalAccess {
    /// Who may push with this `token` (empty: none is configured) and a port that is on the `loopback`, or not.
    pub fn new(token: &Secret, loopback: bool) -> Self {
        match (token.is_empty(), loopback) {
            (true, true) => Self::Everybody,
            (true, false) => Self::Nobody,
            (false, _) => Self::Token(token.clone()),
        }
    }
}

/// Everything on the internal port.
pub fn internal_router(gateway: Gateway, settings: InternalSettings) -> Router {
    let internal = Internal { gateway: gateway.clone(), access: settings.access };
    let send = Router::new().route("/internal/send", post(send)).with_state(internal);
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(gateway)
        .merge(send)
        .layer(map_request_with_state(settings.body_timeout, bound_body))
}

async fn send(State(Internal { gateway, access }): State<Internal>, request: Request) -> Response {
    if let Err(refused) = admit(&access, request.headers()) {
        return answer_error(refused);
    }
    let Send { session_id, event } = match read(request).await {
        Ok(send) => send,
        Err(problem) => return answer_error(&MalformedField { field: "body", problem }),
    };
    match gateway.push_event(PushEvent { session_id, event }).await {
        Ok(pushed) => Json(json!({"ok": true, "delivered": pushed.delivered})).into_response(),
        Err(error) => answer_error(error.as_cause()),
    }
}

fn admit(access: &InternalAccess, headers: &HeaderMap) -> Result<(), &'static dyn Cause> {
    let expected = match access {
        InternalAccess::Everybody => return Ok(()),
        InternalAccess::Nobody => return Err(&NoToken),
        InternalAccess::Token(token) => token,
    };
    let sent = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let sent = sent.and_then(|it| it.split_once(' '));
    let token = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|it| it.1.trim());
    if token.is_some_and(|it| expected.is(it)) { Ok(()) } else { Err(&BadToken) }
}

/// Reads the body. It must say that it is JSON: a page in a browser on the same machine could send anything else unasked.
async fn read(request: Request) -> Result<Send, String> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err("must have the content type application/json".to_owned());
    }
    let body: Body = request.into_body();
    let most = limits::MESSAGE_BYTES;
    let bytes = axum::body::to_bytes(body, most).await;
    let bytes = bytes.map_err(|_| format!("is longer than {most} bytes, or did not come whole"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("is not what it should be: {error}"))
}

/// The error in the form of all others, with its text under `error` too, where orchestrators look for it.
fn answer_error(cause: &dyn Cause) -> Response {
    let (mut body, response) = (cause_body(cause), cause_response(cause));
    body["error"] = Value::String(cause.to_string());
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.to_string()))
}

impl Cause for BadToken {
    fn code(&self) -> Code {
        Code::Unauthenticated
    }

    fn reason(&self) -> &'static str {
        "TOKEN_REQUIRED"
    }
}

impl Cause for NoToken {
    fn code(&self) -> Code {
        Code::PermissionDenied
    }

    fn reason(&self) -> &'static str {
        "TOKEN_NOT_CONFIGURED"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(access: &InternalAccess, authorization: Option<&'static str>) -> u16 {
        let authorization = authorization.map(http::HeaderValue::from_static);
        let headers = authorization.into_iter().map(|it| (header::AUTHORIZATION, it)).collect();
        admit(access, &headers).map_or_else(|it| answer_error(it).status().as_u16(), |()| 200)
    }

    #[test]
    fn without_a_token_only_the_loopback_is_open() {
        assert_eq!(admitted(&InternalAccess::new(&Secret::default(), true), None), 200);
        assert_eq!(admitted(&InternalAccess::new(&Secret::default(), false), Some("Bearer ")), 403);
    }

    #[test]
    fn the_token_is_required_where_there_is_one() {
        let access = InternalAccess::new(&Secret::new("s3cret"), true);
        for (authorization, status) in [
            (None, 401),
            (Some("Bearer s3cret"), 200),
            (Some("bearer  s3cret"), 200),
            (Some("Bearer s3cre"), 401),
            (Some("Bearer s3crets"), 401),
            (Some("Basic s3cret"), 401),
            (Some("s3cret"), 401),
        ] {
            assert_eq!(admitted(&access, authorization), status, "{authorization:?}");
        }
    }
}
