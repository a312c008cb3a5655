//! The log of a run that has ended, as one document. It never changes any more: clients may keep it, and ask whether what
//! they have is still good.

use std::{convert::Infallible, future::ready};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::Compression;

use super::error::{cause_response, response};
use crate::{
    gateway::{Gateway, MalformedField, Watch, WatchRun, WatchRunError},
    model::{Digest, Run},
    wire::{self, Format},
};

/// The document never changes, but its run is dropped some day, and then nobody should be shown it for much longer. It is
/// kept by the client alone: whoever may read one run may not read all.
const CACHE_CONTROL: &str = "private, max-age=3600";
/// What the document depends on beside its address.
const VARY: &str = "accept-encoding, last-event-id";

/// How the events of a document are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentFormat {
    /// An array.
    Json,
    /// One event per line.
    Ndjson,
}

/// Answers a request for the document.
pub(super) async fn run_document(
    gateway: &Gateway,
    request: WatchRun,
    format: DocumentFormat,
    headers: HeaderMap,
) -> Response {
    let run = match gateway.get_run(&request.run_id).await {
        Ok(run) => run,
        Err(error) => return response(error),
    };
    if !run.state.is_terminal() {
        let problem = "is offered of a run that has ended".to_owned();
        return cause_response(&MalformedField { field: "format", problem });
    }
    let Ok(etag) = HeaderValue::try_from(etag(&run, &request, format)) else {
        unreachable!("a digest in Base64 fits into a header")
    };
    // The cursor is checked also where nothing will be read.
    let watch = match gateway.watch_run(request).await {
        Ok(watch) => watch,
        Err(error) => return response(error),
    };
    if let Err(error) = watch.check().await {
        return response(WatchRunError::from(error));
    }
    let common = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL)),
        (header::VARY, HeaderValue::from_static(VARY)),
    ];
    if is_known(&headers, etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    compressed(headers, (common, content_type, body(watch, format)).into_response()).await
}

impl DocumentFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// What stands before the first event, between two, behind the last, and instead of all where there are none.
    fn marks(self) -> (&'static [u8], &'static [u8], &'static [u8], &'static [u8]) {
        match self {
            Self::Json => (b"[", b",\n", b"]\n", b"[]\n"),
            Self::Ndjson => (b"", b"\n", b"\n", b""),
        }
    }
}

/// Names the content, however it is compressed on the way: that is why it is weak.
fn etag(run: &Run, request: &WatchRun, format: DocumentFormat) -> String {
    let digest = Digest::of(&[
        run.run_id.uuid().as_bytes(),
        &run.last_sequence.to_be_bytes(),
        request.after.trim().as_bytes(),
        format.content_type().as_bytes(),
        &[u8::from(request.compact)],
    ]);
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(digest.0))
}

/// True when the client has the document already: its tag, weak or strong, or `*`, stands in `If-None-Match`.
fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    // The quoted parts of a list are every other one, if one splits at quotation marks: a tag has none inside.
    let quoted = |list: &[u8], wanted: &[u8]| {
        let end = list.iter().rposition(|byte| *byte == b'"').unwrap_or(0);
        list[..end].split(|byte| *byte == b'"').skip(1).step_by(2).any(|it| it == wanted)
    };
    let wanted = etag.split(|byte| *byte == b'"').nth(1).unwrap_or_default();
    let mut values = headers.get_all(header::IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    values.any(|it| it.trim_ascii() == b"*" || quoted(it, wanted))
}

fn body(mut watch: Watch, format: DocumentFormat) -> Body {
    let (before, between, behind, empty) = format.marks();
    Body::from_stream(async_stream::stream! {
        let mut begun = false;
        while let Some(batch) = watch.next().await {
            let Ok(entries) = batch else {
                // Half a document must not look like a whole one.
                yield Err(std::io::Error::other("the log can no longer be read"));
                return;
            };
            let mut piece = BytesMut::new();
            for entry in entries {
                piece.extend_from_slice(if std::mem::replace(&mut begun, true) { between } else { before });
                piece.extend_from_slice(&wire::encoded(&entry, Format::Json));
            }
            yield Ok(piece.freeze());
        }
        yield Ok(Bytes::from_static(if begun { behind } else { empty }));
    })
}

/// The response with gzip where the client takes it. Not a layer of the route, because an event stream of the same route
/// must never pass through it.
async fn compressed(headers: HeaderMap, response: Response) -> Response {
    let mut request = Request::new(response);
    *request.headers_mut() = headers;
    let inner = service_fn(|request: Request<Response>| ready(Ok::<_, Infallible>(request.into_body())));
    match Compression::new(inner).oneshot(request).await {
        Ok(response) if response.status() == StatusCode::NOT_ACCEPTABLE => {
            let problem = "allows neither gzip nor the document as it is".to_owned();
            let refused = cause_response(&MalformedField { field: "accept-encoding", problem });
            (StatusCode::NOT_ACCEPTABLE, refused).into_response()
        }
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_when_it_is_in_the_list() {
        let known = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
            }
            is_known(&headers, b"W/\"abc\"")
        };
        for lines in [
            &["W/\"abc\""] as &[_],
            &["\"abc\""],
            &["*"],
            &["\"x\", W/\"abc\""],
            &["W/\"x,\",\"abc\" , \"y\""],
            &["\"x\"", "\"abc\""],
        ] {
            assert!(known(lines), "{lines:?}");
        }
        for lines in [&[] as &[_], &["abc"], &["\"ab\""], &["\"x\"abc\"y\""], &["W/\"\""], &["\"abc"]] {
            assert!(!known(lines), "{lines:?}");
        }
    }
}
