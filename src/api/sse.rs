//! `GET /v1/runs/{run_id}/events`: a run's events for a browser's EventSource, or a finished log as one document.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Deserialize;

use super::{
    error::{cause_response, response},
    events::{Signal, signals},
};
use crate::{
    gateway::{Gateway, MalformedField, Watch, WatchEnd, WatchRun},
    wire::{self, Format},
};

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
}

/// Answers the request.
pub(super) async fn run_events(
    State(gateway): State<Gateway>,
    Path(run_id): Path<String>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let last_event_id =
        headers.get("last-event-id").map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let after = last_event_id.filter(|it| !it.is_empty()).unwrap_or(query.after);
    let watch = match gateway.watch_run(WatchRun { run_id: run_id.clone(), after }).await {
        Ok(watch) => watch,
        Err(error) => return response(error),
    };
    match query.format.as_str() {
        "" | "sse" if watch.at_end() => StatusCode::NO_CONTENT.into_response(),
        "" | "sse" => event_stream(watch),
        "json" | "ndjson" => document(&gateway, &run_id, watch, query.format == "json").await,
        _ => {
            let problem = "is none of sse, json, ndjson".to_owned();
            cause_response(&MalformedField { field: "format", problem })
        }
    }
}

fn event_stream(watch: Watch) -> Response {
    let messages = signals(watch).map(Some).chain(stream::iter([None])).scan(false, |cut, signal| {
        let message = match signal {
            // All that is ready goes out in one write.
            Some(Signal::Events(entries)) if entries.len() == 1 => wire::encoded(&entries[0], Format::Sse),
            Some(Signal::Events(entries)) => {
                let messages = entries.iter().map(|it| wire::encoded(it, Format::Sse));
                messages
                    .fold(BytesMut::new(), |mut all, it| {
                        all.extend_from_slice(&it);
                        all
                    })
                    .freeze()
            }
            Some(Signal::Silence) => Bytes::from_static(ALIVE),
            // The response ends without `close`, so that the browser comes back with its cursor.
            Some(Signal::Cut(WatchEnd::Draining | WatchEnd::Read(_))) => {
                *cut = true;
                Bytes::new()
            }
            None if *cut => Bytes::new(),
            None => Bytes::from_static(CLOSE),
        };
        futures::future::ready(Some(message))
    });
    let first = stream::iter([Bytes::from_static(RETRY)]);
    let frames = first.chain(messages).filter(|it| futures::future::ready(!it.is_empty()));
    let body = StreamBody::new(frames.map(|it| Ok::<_, Infallible>(Frame::data(it))));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::new(body)).into_response()
}

/// The log of a run that has ended, from the watch's position on.
async fn document(gateway: &Gateway, run_id: &str, mut watch: Watch, json: bool) -> Response {
    match gateway.get_run(run_id).await {
        Ok(run) if run.state.is_terminal() => {}
        Ok(_) => {
            let problem = "is offered of a run that has ended".to_owned();
            return cause_response(&MalformedField { field: "format", problem });
        }
        Err(error) => return response(error),
    }
    let (begin, between, end, content_type) =
        if json { ("[", ",\n", "]\n", "application/json") } else { ("", "\n", "\n", "application/x-ndjson") };
    let body = async_stream::stream! {
        yield Ok(Bytes::from_static(begin.as_bytes()));
        let mut first = true;
        while let Some(batch) = watch.next().await {
            let Ok(entries) = batch else {
                // Half a document must not look like a whole one.
                yield Err(std::io::Error::other("the log is no longer kept"));
                return;
            };
            for entry in entries {
                if !std::mem::take(&mut first) {
                    yield Ok(Bytes::from_static(between.as_bytes()));
                }
                yield Ok(wire::encoded(&entry, Format::Json));
            }
        }
        yield Ok(Bytes::from_static(end.as_bytes()));
    };
    ([(header::CONTENT_TYPE, content_type)], Body::from_stream(body)).into_response()
}
