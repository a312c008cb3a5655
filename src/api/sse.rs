//! `GET /v1/runs/{run_id}/events`: a run's events for a browser's EventSource, or a finished log as one document; and
//! `GET /v1/sessions/{session_id}/events`: the events of all runs of a session.

use axum::{
    Extension,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use serde::Deserialize;

use super::{
    document::{DocumentFormat, run_document},
    error::{cause_response, response},
    events::{self, Shown, Source, Writing},
    serve::LongStream,
};
use crate::gateway::{Caller, Gateway, MalformedField, WatchEnd, WatchRun, WatchSession};

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

/// An event stream of HTML (section 9.2.5).
struct EventStream;

/// Answers the request.
pub(super) async fn run_events(
    State(gateway): State<Gateway>,
    run_id: Result<Path<String>, PathRejection>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (request, query) = match asked(("run_id", run_id), query, &headers) {
        Ok((run_id, query, (after, compact))) => (WatchRun { run_id, after, compact }, query),
        Err(error) => return cause_response(&error),
    };
    match query.format.as_str() {
        "" | "sse" => match gateway.watch_run(request).await {
            Ok(watch) if watch.at_end() => StatusCode::NO_CONTENT.into_response(),
            Ok(watch) => event_stream(watch),
            Err(error) => response(error),
        },
        "json" => run_document(&gateway, request, DocumentFormat::Json, headers).await,
        "ndjson" => run_document(&gateway, request, DocumentFormat::Ndjson, headers).await,
        _ => cause_response(&malformed("format", "is none of sse, json, ndjson")),
    }
}

/// Answers a request for the events of all runs of a session. They do not end by themselves.
pub(super) async fn session_events(
    State(gateway): State<Gateway>,
    session_id: Result<Path<String>, PathRejection>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let (request, query) = match asked(("session_id", session_id), query, &headers) {
        Ok((session_id, query, (after, compact))) => (WatchSession { session_id, after, compact }, query),
        Err(error) => return cause_response(&error),
    };
    if !matches!(query.format.as_str(), "" | "sse") {
        return cause_response(&malformed("format", "is not sse"));
    }
    match gateway.watch_session(&Caller::default(), request).await {
        Ok(watch) => event_stream(watch),
        Err(error) => response(error),
    }
}

impl EventsQuery {
    /// Where to begin, and whether the catch-up is to be compact. The position is the `Last-Event-ID`, which a browser
    /// sends by itself, or else what stands in the query.
    fn place(&self, headers: &HeaderMap) -> Result<(String, bool), MalformedField> {
        let last_event_id = headers.get("last-event-id").map(|it| String::from_utf8_lossy(it.as_bytes()));
        let after = last_event_id.filter(|it| !it.is_empty()).unwrap_or(self.after.as_str().into());
        match self.compact.as_str() {
            "true" | "1" => Ok((after.into_owned(), true)),
            "" | "false" | "0" => Ok((after.into_owned(), false)),
            _ => Err(malformed("compact", "is none of true, false")),
        }
    }
}

/// What the address and the headers say: the id, the query, and the place in it.
fn asked(
    (name, id): (&'static str, Result<Path<String>, PathRejection>),
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<(String, EventsQuery, (String, bool)), MalformedField> {
    let Path(id) = id.map_err(|_| malformed(name, "is not UTF-8"))?;
    let Query(query) = query
        .map_err(|_| malformed("query", "cannot be read; each of after, compact, format stands once"))?;
    let place = query.place(headers)?;
    Ok((id, query, place))
}

fn malformed(field: &'static str, problem: &str) -> MalformedField {
    MalformedField { field, problem: problem.to_owned() }
}

/// The events of a watch as they come.
fn event_stream<S: Source>(source: S) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (Extension(LongStream), headers, Body::new(events::body(source, EventStream))).into_response()
}

impl Writing for EventStream {
    fn beginning(&self) -> Option<Bytes> {
        Some(Bytes::from_static(RETRY))
    }

    fn event(&self, event: &impl Shown) -> Bytes {
        event.sse()
    }

    fn silence(&self) -> Bytes {
        Bytes::from_static(ALIVE)
    }

    /// A response that was cut ends without `close`, so that the browser comes back with its cursor.
    fn end(&self, cut: Option<&WatchEnd>) -> Option<Frame<Bytes>> {
        cut.is_none().then(|| Frame::data(Bytes::from_static(CLOSE)))
    }
}
