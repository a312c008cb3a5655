//! The registry against a small MCP server over streamable HTTP, for what well-behaved servers do not do.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{McpError, McpOutput, McpRegistry, McpServerSettings};
use crate::runner::llm::Secret;

/// Longer than any of these tests may take: who waits for it has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn start() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let elsewhere = format!("http://localhost:{}/mcp", address.port());
    let router = Router::new()
        .route("/mcp", post(serve))
        .route("/moved", post(async || Redirect::temporary("/mcp")))
        .route("/moved-away", post(async move || Redirect::temporary(&elsewhere)));
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (format!("http://{address}"), serving)
}

async fn serve(headers: HeaderMap, Json(message): Json<Value>) -> Response {
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer token") {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let result = match message["method"].as_str().unwrap() {
        "initialize" => json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "small", "version": "1"}}),
        "tools/call" => {
            let size = message["params"]["arguments"]["size"].as_u64().unwrap_or(1) as usize;
            json!({"content": [{"type": "text", "text": "x".repeat(size)}]})
        }
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    if message["params"]["name"] == "streamed" {
        return ([(header::CONTENT_TYPE, "text/event-stream")], format!("data: {answer}\n\n"))
            .into_response();
    }
    Json(answer).into_response()
}

fn registry(url: String, bearer: &str) -> McpRegistry {
    let settings = McpServerSettings::Http { url, bearer: Secret::new(bearer), timeout: TIMEOUT };
    McpRegistry::new(BTreeMap::from([("s".to_owned(), settings)])).unwrap()
}

async fn call(registry: &McpRegistry, tool: &str, size: usize) -> Result<McpOutput, McpError> {
    registry.call("s", tool, json!({"size": size}), &CancellationToken::new()).await
}

#[tokio::test]
async fn the_token_is_sent_and_its_refusal_told() {
    let (base, _serving) = start().await;
    let good = registry(format!("{base}/mcp"), "token");
    assert_eq!(call(&good, "plain", 3).await.unwrap().text, "xxx");
    assert_eq!(call(&good, "streamed", 3).await.unwrap().text, "xxx");
    good.close().await;
    let error = call(&registry(format!("{base}/mcp"), "guess"), "plain", 3).await.unwrap_err();
    assert!(matches!(error, McpError::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_server_and_no_further() {
    let (base, _serving) = start().await;
    assert_eq!(call(&registry(format!("{base}/moved"), "token"), "plain", 3).await.unwrap().text, "xxx");
    let error = call(&registry(format!("{base}/moved-away"), "token"), "plain", 3).await.unwrap_err();
    assert!(matches!(error, McpError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_large_answer_is_refused_without_waiting() {
    let (base, _serving) = start().await;
    let registry = registry(format!("{base}/mcp"), "token");
    let begun = Instant::now();
    for (tool, size) in [("plain", 1_100_000), ("streamed", 1_100_000), ("plain", 20_000_000)] {
        let error = call(&registry, tool, size).await.unwrap_err();
        assert!(matches!(error, McpError::TooLarge { .. }), "{tool} {size}: {error:?}");
    }
    assert_eq!(call(&registry, "plain", 3).await.unwrap().text, "xxx");
    // A stream that cannot be read on is a lost connection, whatever was in it.
    let error = call(&registry, "streamed", 5_000_000).await.unwrap_err();
    assert!(matches!(error, McpError::Unavailable { .. }), "{error:?}");
    assert_eq!(call(&registry, "plain", 3).await.unwrap().text, "xxx");
    assert!(begun.elapsed() < TIMEOUT);
}
