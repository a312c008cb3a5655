//! Pages of other origins: those that are allowed can do all that a client needs, the others nothing.

use http::HeaderMap;
use libtest_mimic::Trial;

use super::request;
use crate::support::{
    gateway::{Setup, shared},
    http::{Version, send},
    story, trial,
};

const PAGE: &str = "http://localhost:5173";
const STRANGER: &str = "https://stranger.example";
const WATCH: &str = "/rungate.v1.PipelineService/WatchRun";

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::cors_preflight_allows_what_clients_send", preflight),
        trial("http::cors_marks_every_response", responses),
        trial("http::cors_tells_strangers_nothing", strangers),
        trial("http::cors_allows_the_gateways_own_pages", own_pages),
        trial("http::cors_origins_are_configured", configured),
    ]
}

fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().flat_map(|it| it.to_str().unwrap().split(','));
    values.map(|it| it.trim().to_ascii_lowercase()).collect()
}

fn is_allowed(headers: &HeaderMap, origin: &str) -> bool {
    assert!(list(headers, "vary").contains(&"origin".to_owned()), "{headers:?}");
    let told = headers.get("access-control-allow-origin").map(|it| it.to_str().unwrap());
    if told.is_none() {
        return false;
    }
    assert_eq!(told, Some(origin), "never a star: credentials are allowed");
    assert_eq!(headers["access-control-allow-credentials"], "true");
    true
}

async fn preflight() {
    for asked in [
        "content-type,x-grpc-web,x-user-agent,grpc-timeout",
        "content-type,connect-protocol-version,connect-timeout-ms",
        "last-event-id,cache-control",
        "authorization,x-api-key",
    ] {
        let headers = [
            ("origin", PAGE),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", asked),
        ];
        let response = request("OPTIONS", WATCH, &headers, b"").await;
        assert!(response.status.is_success(), "{}", response.status);
        assert!(is_allowed(&response.headers, PAGE));
        let allowed = list(&response.headers, "access-control-allow-headers");
        for name in asked.split(',') {
            assert!(allowed.contains(&name.to_owned()), "{name} in {allowed:?}");
        }
        let methods = list(&response.headers, "access-control-allow-methods");
        assert!(methods.contains(&"post".to_owned()) && methods.contains(&"get".to_owned()), "{methods:?}");
    }
}

async fn responses() {
    let nobody = "/v1/runs/run_01890000-0000-7000-8000-000000000000/events";
    let grpc_web = [("origin", PAGE), ("content-type", "application/grpc-web+proto")];
    let connect = [("origin", PAGE), ("content-type", "application/json")];
    let responses = [
        request("GET", nobody, &[("origin", PAGE)], b"").await,
        request("POST", WATCH, &grpc_web, &[0; 5]).await,
        request("POST", "/rungate.v1.PipelineService/GetRun", &connect, b"{}").await,
        request("POST", "/rungate.v1.PipelineService/NoSuch", &connect, b"{}").await,
        request("GET", "/healthz", &[("origin", PAGE)], b"").await,
    ];
    for response in responses {
        assert!(is_allowed(&response.headers, PAGE), "{} {:?}", response.status, response.headers);
        let exposed = list(&response.headers, "access-control-expose-headers");
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            assert!(exposed.contains(&name.to_owned()), "{name} in {exposed:?}");
        }
    }
}

async fn strangers() {
    for origin in [STRANGER, "http://localhost.stranger.example:80", "null", "https://localhost:5173"] {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let response = request("OPTIONS", WATCH, &headers, b"").await;
        assert!(!is_allowed(&response.headers, origin), "{origin}");
        let response = request("GET", "/healthz", &[("origin", origin)], b"").await;
        assert!(!is_allowed(&response.headers, origin), "{origin}");
    }
}

async fn own_pages() {
    let own = shared().await.url("");
    let headers = [("origin", own.as_str()), ("access-control-request-method", "POST")];
    assert!(is_allowed(&request("OPTIONS", WATCH, &headers, b"").await.headers, &own));
}

async fn configured() {
    let config = "[cors]\norigins = [\"https://*.example.com\"]\n";
    let gateway = Setup::default().config(config).start().await;
    for (origin, allowed) in
        [("https://app.example.com", true), (PAGE, false), ("https://example.com", false)]
    {
        let request = http::Request::get("/healthz").header("origin", origin);
        let request = request.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
        let response = send(gateway.address(), Version::Http1, request).await.unwrap();
        assert_eq!(is_allowed(&response.headers, origin), allowed, "{origin}");
    }
    let client =
        crate::support::client::Client::new(crate::support::client::Protocol::Grpc, gateway.address());
    story::finished(client, "worker_DAG").await;
}
