//! From a request to a socket: RFC 6455, section 4.2, on HTTP/1.1.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{WsSettings, connection::Connection};
use crate::{
    api::{CorsSettings, error::cause_response},
    gateway::{Caller, Draining, Gateway, session_id_of_cookies},
    model::{Cause, Code},
    runtime::task::{self, TaskKind},
};

/// When a client that found no room should try again.
const ROOM_RETRY: Duration = Duration::from_secs(5);

/// What every upgrade needs.
#[derive(Clone)]
pub(in super::super) struct Door {
    gateway: Gateway,
    settings: Arc<WsSettings>,
    cors: CorsSettings,
    sockets: Arc<Semaphore>,
}

/// There are as many sockets as may be.
#[derive(Debug, thiserror::Error)]
#[error("the gateway has as many sockets as it may")]
struct TooManySockets;

/// A page of an origin that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("pages of this origin may not open a socket")]
struct ForeignOrigin;

/// The request asks for no WebSocket.
#[derive(Debug, thiserror::Error)]
#[error("this is a WebSocket, version 13: ask for an upgrade over HTTP/1.1")]
struct NoUpgrade;

/// A request for a WebSocket without its key.
#[derive(Debug, thiserror::Error)]
#[error("Sec-WebSocket-Key is required")]
struct NoKey;

impl Door {
    /// The door to `gateway`.
    pub(in super::super) fn new(gateway: Gateway, settings: WsSettings, cors: CorsSettings) -> Self {
        let sockets = Arc::new(Semaphore::new(settings.most_sockets.min(Semaphore::MAX_PERMITS)));
        Self { gateway, settings: Arc::new(settings), cors, sockets }
    }
}

/// Lets a client in, if it asks as it should.
pub(in super::super) async fn enter(State(door): State<Door>, request: axum::extract::Request) -> Response {
    let (mut request, _) = request.into_parts();
    let key = match check(&door, &request) {
        Ok(key) => key,
        Err(refusal) => return *refusal,
    };
    let Some(upgrade) = request.extensions.remove::<OnUpgrade>() else { return no_upgrade() };
    let Ok(slot) = door.sockets.clone().try_acquire_owned() else {
        // Not 429: it is not this client that is too many.
        let mut response = cause_response(&TooManySockets);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let cookies = request.headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let caller = Caller { cookie_session: session_id_of_cookies(cookies) };
    let Door { gateway, settings, .. } = door;
    task::spawn(TaskKind::Socket, async move {
        let stopped = gateway.shutdown().stopped.clone();
        let socket = async {
            match upgrade.await {
                Ok(io) => {
                    // Boxed once, where it is: each layer around it would have room for it once more.
                    let connection = Connection::new(TokioIo::new(io), gateway, settings, caller);
                    Box::pin(Box::pin(connection).await.run()).await;
                }
                Err(error) => tracing::debug!(%error, "a connection ended before it was a socket"),
            }
        };
        tokio::select! {
            () = socket => {}
            () = stopped.given() => {}
        }
        drop(slot);
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    response
}

/// The answer to the client's key, or why it may not come in.
fn check(door: &Door, request: &Parts) -> Result<HeaderValue, Box<Response>> {
    let headers = &request.headers;
    if let Some(origin) = headers.get(header::ORIGIN)
        && !door.cors.allows(origin, request)
    {
        return Err(cause_response(&ForeignOrigin).into());
    }
    let asks = request.method == Method::GET
        && has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket");
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if !asks || version.is_none_or(|it| it != "13") {
        return Err(no_upgrade().into());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| cause_response(&NoKey))?;
    let key = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    if !door.gateway.is_ready() {
        return Err(cause_response(&Draining).into());
    }
    Ok(key.map_err(|_| cause_response(&NoKey))?)
}

/// Says what to ask for instead.
fn no_upgrade() -> Response {
    let mut response = cause_response(&NoUpgrade);
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// True when one of the comma-separated words of the header is `token`.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|it| it.to_str().ok());
    values.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(token))
}

impl Cause for TooManySockets {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "TOO_MANY_SOCKETS"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(ROOM_RETRY)
    }
}

impl Cause for ForeignOrigin {
    fn code(&self) -> Code {
        Code::PermissionDenied
    }

    fn reason(&self) -> &'static str {
        "ORIGIN_NOT_ALLOWED"
    }
}

impl Cause for NoUpgrade {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "UPGRADE_REQUIRED"
    }
}

impl Cause for NoKey {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "FIELD_MISSING"
    }
}
