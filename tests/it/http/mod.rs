//! What stands around the events: headers, status codes, cross-origin rules, the standard services, one port.

mod cors;
mod documents;
mod events;
mod http2;
mod long_streams;
mod requests;
mod services;
mod session_events;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use libtest_mimic::Trial;

use crate::support::{
    gateway::shared,
    http::{Response, Version, send},
};

/// Says much, and quickly.
const CHATTER: &str = r#"
[workers.chatter]
command = ["sh", "-c", '''
read -r task
yes "{\"type\":\"delta\",\"text\":\"$(printf %08192d 0)\"}" | head -n 512
''']
"#;

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        cors::trials(),
        documents::trials(),
        events::trials(),
        http2::trials(),
        long_streams::trials(),
        requests::trials(),
        services::trials(),
        session_events::trials(),
    ];
    trials.into_iter().flatten().collect()
}

/// Sends a request with headers to the shared gateway over HTTP/1.1.
async fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    request_over(Version::Http1, method, path, headers, body).await
}

async fn request_over(
    version: Version,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(Full::from(Bytes::copy_from_slice(body))).unwrap();
    send(shared().await.address(), version, request).await.unwrap()
}
