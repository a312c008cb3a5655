//! MCP servers on the network: how they are spoken to.

use reqwest::{Client, StatusCode, redirect};
use rmcp::transport::{
    StreamableHttpClientTransport,
    streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
};
use url::Url;

use crate::runner::{http, llm::Secret};

/// Redirects that are followed for one request; a chain of more is a loop.
const REDIRECTS: usize = 5;

/// A transport to the server at `url`. Nothing is connected yet.
pub(super) fn transport(
    url: &str,
    bearer: &Secret,
    max_event_bytes: usize,
) -> reqwest::Result<StreamableHttpClientTransport<Client>> {
    let loopback = Url::parse(url).is_ok_and(|it| http::is_loopback(&it));
    let client = http::client(loopback)
        .redirect(same_origin())
        // Used again before its last body was read to the end, a connection stalls for a delayed acknowledgement.
        .pool_max_idle_per_host(0);
    let mut config = StreamableHttpClientTransportConfig::with_uri(url).max_sse_event_size(max_event_bytes);
    if !bearer.is_empty() {
        config = config.auth_header(bearer.reveal());
    }
    Ok(StreamableHttpClientTransport::with_client(client.build()?, config))
}

/// True when the answer to a request was longer than is read.
pub(super) fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StreamableHttpError::<reqwest::Error>::ResponseBodyTooLarge { .. }))
}

/// True when the server asks for other credentials than it was given.
pub(super) fn is_unauthorized(error: &(dyn std::error::Error + 'static)) -> bool {
    use StreamableHttpError::{AuthRequired, InsufficientScope};
    matches!(
        error.downcast_ref::<StreamableHttpError<reqwest::Error>>(),
        Some(AuthRequired(_) | InsufficientScope(_))
    )
}

/// Follows what keeps the request as it is and the token where it belongs: frameworks redirect `/mcp` to `/mcp/`.
fn same_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let keeps_body =
            matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        let same_origin = attempt.previous().iter().all(|url| url.origin() == attempt.url().origin());
        if keeps_body && same_origin && attempt.previous().len() <= REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}
