//! Which web pages may call the gateway from a browser.

use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use serde::{Deserialize, Serialize};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Headers that gRPC-Web, Connect and EventSource clients send.
const REQUEST_HEADERS: [&str; 20] = [
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "connect-timeout-ms",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-grpc-web",
    "x-requested-with",
    "x-user-agent",
];

/// Headers that their pages may read.
const RESPONSE_HEADERS: [&str; 8] = [
    "connect-accept-encoding",
    "connect-content-encoding",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
];

/// Which web pages may call the gateway from a browser. Pages of the gateway itself always may.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSettings {
    /// Allowed origins, such as `https://app.example.com`. A `*` stands for any run of characters other than `/`.
    pub origins: Vec<String>,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self { origins: vec!["http://localhost:*".to_owned()] }
    }
}

impl CorsSettings {
    /// Whether pages of `origin` may make this request.
    pub(super) fn allows(&self, origin: &HeaderValue, request: &Parts) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        is_own(origin, request) || self.origins.iter().any(|pattern| matches(pattern, origin))
    }
}

/// The layer that answers preflights and marks responses.
pub(super) fn layer(settings: &CorsSettings) -> CorsLayer {
    let settings = settings.clone();
    let origin =
        AllowOrigin::predicate(move |origin: &HeaderValue, request: &Parts| settings.allows(origin, request));
    CorsLayer::new()
        .allow_origin(origin)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::OPTIONS])
        .allow_headers(REQUEST_HEADERS.map(HeaderName::from_static))
        .expose_headers(RESPONSE_HEADERS.map(HeaderName::from_static))
        .max_age(std::time::Duration::from_secs(7200))
}

/// True for a page that the gateway itself has served.
fn is_own(origin: &str, request: &Parts) -> bool {
    let host = request.headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let host = host.or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == origin_host
}

fn matches(pattern: &str, origin: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((before, after)) => {
            let Some(rest) = origin.strip_prefix(before) else { return false };
            let ends = (0..=rest.len()).rev().filter(|end| rest.is_char_boundary(*end));
            ends.filter(|end| !rest[..*end].contains('/')).any(|end| matches(after, &rest[end..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything_but_a_slash() {
        for (pattern, origin, allowed) in [
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "http://localhost.evil.example:80", false),
            ("http://localhost:*", "https://localhost:5173", false),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://evil.example/.example.com", false),
            ("https://app.example.com", "https://app.example.com", true),
            ("https://app.example.com", "https://app.example.com.evil.example", false),
            ("*", "https://anything.example", false),
        ] {
            assert_eq!(matches(pattern, origin), allowed, "{pattern} {origin}");
        }
    }
}
