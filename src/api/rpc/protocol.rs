//! Which protocol a request speaks.

use axum::body::Body;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};

const WEB: &str = "application/grpc-web+proto";
const WEB_TEXT: &str = "application/grpc-web-text+proto";

/// Who serves a request.
pub(super) enum Protocol {
    /// tonic.
    Grpc,
    /// tonic-web.
    GrpcWeb(WebForm),
    /// connectrpc: Connect in all its forms, and the JSON codec of every protocol.
    Connect,
    /// Nobody.
    Refused(Refusal),
}

/// The forms of gRPC-Web, as tonic-web wants to be told them: exactly, and without parameters.
#[derive(Debug, PartialEq)]
pub(super) struct WebForm {
    pub(super) content_type: HeaderValue,
    pub(super) accept: HeaderValue,
}

/// Why a request with a gRPC content type is not served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// A call is a POST.
    Verb,
    /// Messages are protobuf or JSON.
    Codec,
    /// Native gRPC ends with HTTP/2 trailers; browsers and old proxies have gRPC-Web and Connect.
    HttpVersion,
}

impl Protocol {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
        let essence = essence.to_ascii_lowercase();
        let Some(variant) = essence.strip_prefix("application/grpc") else { return Self::Connect };
        if variant.ends_with("+json") {
            return Self::Connect;
        }
        let protocol = match variant {
            "" | "+proto" => Self::Grpc,
            "-web" | "-web+proto" => Self::GrpcWeb(WebForm::of(request, WEB)),
            "-web-text" | "-web-text+proto" => Self::GrpcWeb(WebForm::of(request, WEB_TEXT)),
            _ => Self::Refused(Refusal::Codec),
        };
        match protocol {
            _ if request.method() != Method::POST => Self::Refused(Refusal::Verb),
            Self::Grpc if request.version() < Version::HTTP_2 => Self::Refused(Refusal::HttpVersion),
            protocol => protocol,
        }
    }
}

impl WebForm {
    /// The answer has the form that the client accepts, and the form of the request where it does not say.
    fn of<B>(request: &Request<B>, content_type: &'static str) -> Self {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accept = match accept {
            _ if accept.contains("application/grpc-web-text") => WEB_TEXT,
            _ if accept.contains("application/grpc-web") => WEB,
            _ => content_type,
        };
        Self {
            content_type: HeaderValue::from_static(content_type),
            accept: HeaderValue::from_static(accept),
        }
    }
}

impl Refusal {
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match self {
            Self::Verb => StatusCode::METHOD_NOT_ALLOWED,
            Self::Codec => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        };
        if self == Self::Verb {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served_by(content_type: &str, method: Method, version: Version) -> String {
        let request = Request::builder().method(method).version(version).header(CONTENT_TYPE, content_type);
        match Protocol::of(&request.body(()).unwrap()) {
            Protocol::Grpc => "tonic".into(),
            Protocol::GrpcWeb(form) => format!("tonic-web {}", form.content_type.to_str().unwrap()),
            Protocol::Connect => "connectrpc".into(),
            Protocol::Refused(refusal) => refusal.into_response().status().as_str().into(),
        }
    }

    #[test]
    fn the_content_type_decides() {
        for (content_type, server) in [
            ("application/grpc", "tonic"),
            ("application/grpc+proto", "tonic"),
            ("Application/gRPC ; charset=utf-8", "tonic"),
            ("application/grpc-web", "tonic-web application/grpc-web+proto"),
            ("application/grpc-web-text+proto; x=1", "tonic-web application/grpc-web-text+proto"),
            ("application/grpc+json", "connectrpc"),
            ("application/grpc-web+json", "connectrpc"),
            ("application/connect+proto", "connectrpc"),
            ("application/json", "connectrpc"),
            ("", "connectrpc"),
            ("application/grpc+thrift", "415"),
            ("application/grpcish", "415"),
        ] {
            assert_eq!(served_by(content_type, Method::POST, Version::HTTP_2), server, "{content_type}");
        }
    }

    #[test]
    fn verb_and_version_are_checked_for_grpc_only() {
        assert_eq!(served_by("application/grpc", Method::GET, Version::HTTP_2), "405");
        assert_eq!(served_by("application/grpc-web", Method::PUT, Version::HTTP_11), "405");
        assert_eq!(served_by("application/grpc", Method::POST, Version::HTTP_11), "505");
        assert_eq!(served_by("application/json", Method::GET, Version::HTTP_11), "connectrpc");
    }

    #[test]
    fn a_web_client_is_answered_as_it_accepts_or_else_as_it_asks() {
        for (content_type, accept, answer) in [
            (WEB, "", WEB),
            (WEB, "*/*", WEB),
            (WEB, "application/grpc-web-text", WEB_TEXT),
            (WEB_TEXT, "", WEB_TEXT),
            (WEB_TEXT, "*/*", WEB_TEXT),
            (WEB_TEXT, "application/grpc-web", WEB),
        ] {
            let request = Request::builder().header(ACCEPT, accept).body(()).unwrap();
            assert_eq!(WebForm::of(&request, content_type).accept, answer, "{content_type} {accept}");
        }
    }
}
