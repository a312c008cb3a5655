//! The console: a page to start a run and watch it, embedded in the binary.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

/// Only what the gateway itself serves may run, be shown or be called: the page has no inline script and no inline style.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// A file of the console: its name, its content type, its text.
type File = (&'static str, &'static str, &'static str);

const INDEX: &str = include_str!("console/index.html");

/// What is served under `/console/`.
const FILES: &[File] = &[
    ("actions.js", SCRIPT, include_str!("console/actions.js")),
    ("announce.js", SCRIPT, include_str!("console/announce.js")),
    ("ask.js", SCRIPT, include_str!("console/ask.js")),
    ("console.css", STYLE, include_str!("console/console.css")),
    ("dom.js", SCRIPT, include_str!("console/dom.js")),
    ("graph.js", SCRIPT, include_str!("console/graph.js")),
    ("header.js", SCRIPT, include_str!("console/header.js")),
    ("icon.svg", IMAGE, include_str!("console/icon.svg")),
    ("keys.js", SCRIPT, include_str!("console/keys.js")),
    ("layout.js", SCRIPT, include_str!("console/layout.js")),
    ("log.js", SCRIPT, include_str!("console/log.js")),
    ("main.js", SCRIPT, include_str!("console/main.js")),
    ("memory.js", SCRIPT, include_str!("console/memory.js")),
    ("notice.js", SCRIPT, include_str!("console/notice.js")),
    ("order.js", SCRIPT, include_str!("console/order.js")),
    ("panzoom.js", SCRIPT, include_str!("console/panzoom.js")),
    ("params.js", SCRIPT, include_str!("console/params.js")),
    ("recent.js", SCRIPT, include_str!("console/recent.js")),
    ("requests.js", SCRIPT, include_str!("console/requests.js")),
    ("rpc.js", SCRIPT, include_str!("console/rpc.js")),
    ("run.css", STYLE, include_str!("console/run.css")),
    ("run.js", SCRIPT, include_str!("console/run.js")),
    ("sse.js", SCRIPT, include_str!("console/sse.js")),
    ("start.js", SCRIPT, include_str!("console/start.js")),
    ("status.js", SCRIPT, include_str!("console/status.js")),
    ("talk.js", SCRIPT, include_str!("console/talk.js")),
    ("watch.js", SCRIPT, include_str!("console/watch.js")),
    ("words.js", SCRIPT, include_str!("console/words.js")),
    ("workers.js", SCRIPT, include_str!("console/workers.js")),
];

/// `GET /`.
pub(super) async fn index() -> Response {
    serve(HTML, INDEX)
}

/// `GET /console/{name}`.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, text)) => serve(content_type, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn serve(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // Another version of the binary has other files under the same names.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let named = std::iter::once(INDEX)
            .flat_map(|page| page.split("\"/console/").skip(1))
            .chain(FILES.iter().flat_map(|(.., text)| text.split("from \"./").skip(1)))
            .filter_map(|rest| rest.split('"').next());
        for name in named {
            assert!(FILES.iter().any(|(known, ..)| *known == name), "{name} is not served");
        }
    }

    #[test]
    fn the_page_has_nothing_inline_that_its_policy_forbids() {
        assert!(!INDEX.contains("<style"), "inline styles are not applied");
        assert!(!INDEX.contains(" style="), "inline styles are not applied");
        assert!(!INDEX.contains(" onclick="), "inline handlers are not run");
        assert!(INDEX.matches("<script").count() == INDEX.matches("<script type=\"module\" src=").count());
    }
}
