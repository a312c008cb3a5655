//! `GET /v1/runs/{run_id}/events`: a run's events for a browser's EventSource, or a finished log as one document; and
//! `GET /v1/sessions/{session_id}/events`: the events of all runs of a session.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Deserialize;

use super::{
    document::{DocumentFormat, run_document},
    error::{cause_response, response},
    events::{Shown, Signal, Signals, Source},
};
use crate::gateway::{Caller, Gateway, MalformedField, WatchRun, WatchSession};

/// How long a browser waits before it comes back, in milliseconds.
const RETRY: &[u8] = b"retry: 1000\n\n";
const ALIVE: &[u8] = b": alive\n\n";
const CLOSE: &[u8] = b"event: close\ndata: {}\n\n";

/// The query of the request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EventsQuery {
    #[serde(default)]
    after: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    compact: String,
}

/// Answers the request.
pub(super) async fn run_events(
    State(gateway): State<Gateway>,
    Path(run_id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let after = position(&headers, query.after);
    let compact = match is_set("compact", &query.compact) {
        Ok(compact) => compact,
        Err(error) => return cause_response(&error),
    };
    let request = WatchRun { run_id, after, compact };
    match query.format.as_str() {
        "" | "sse" => match gateway.watch_run(request).await {
            Ok(watch) if watch.at_end() => StatusCode::NO_CONTENT.into_response(),
            Ok(watch) => event_stream(watch),
            Err(error) => response(error),
        },
        "json" => run_document(&gateway, request, DocumentFormat::Json, headers).await,
        "ndjson" => run_document(&gateway, request, DocumentFormat::Ndjson, headers).await,
        _ => {
            let problem = "is none of sse, json, ndjson".to_owned();
            cause_response(&MalformedField { field: "format", problem })
        }
    }
}

/// Answers a request for the events of all runs of a session. They do not end by themselves.
pub(super) async fn session_events(
    State(gateway): State<Gateway>,
    Path(session_id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let after = position(&headers, query.after);
    let compact = match is_set("compact", &query.compact) {
        Ok(compact) => compact,
        Err(error) => return cause_response(&error),
    };
    if !matches!(query.format.as_str(), "" | "sse") {
        return cause_response(&MalformedField { field: "format", problem: "is not sse".to_owned() });
    }
    let request = WatchSession { session_id, after, compact };
    match gateway.watch_session(&Caller::default(), request).await {
        Ok(watch) => event_stream(watch),
        Err(error) => response(error),
    }
}

/// The `Last-Event-ID`, which a browser sends by itself, or else what stands in the query.
fn position(headers: &HeaderMap, after: String) -> String {
    let last_event_id =
        headers.get("last-event-id").map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    last_event_id.filter(|it| !it.is_empty()).unwrap_or(after)
}

/// A field of the query that is true or false; when it is not there it is false.
fn is_set(field: &'static str, text: &str) -> Result<bool, MalformedField> {
    match text {
        "true" | "1" => Ok(true),
        "" | "false" | "0" => Ok(false),
        _ => Err(MalformedField { field, problem: "is none of true, false".to_owned() }),
    }
}

/// The events of a watch as they come.
fn event_stream<S: Source>(source: S) -> Response {
    let mut signals = Signals::new(source);
    let frames = async_stream::stream! {
        yield frame(Bytes::from_static(RETRY));
        while let Some(signal) = signals.next().await {
            match signal {
                Signal::Events(events) => yield frame(joined(&events)),
                Signal::Silence => yield frame(Bytes::from_static(ALIVE)),
                Signal::Cut(_) => {}
            }
        }
        // A response that was cut ends without `close`, so that the browser comes back with its cursor.
        if !signals.were_cut() {
            yield frame(Bytes::from_static(CLOSE));
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::new(StreamBody::new(frames))).into_response()
}

/// All that is ready goes out in one write.
fn joined<E: Shown>(events: &[E]) -> Bytes {
    match events {
        [event] => event.sse(),
        events => {
            let messages: Vec<_> = events.iter().map(Shown::sse).collect();
            let mut all = BytesMut::with_capacity(messages.iter().map(Bytes::len).sum());
            messages.iter().for_each(|it| all.extend_from_slice(it));
            all.freeze()
        }
    }
}

fn frame(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}
