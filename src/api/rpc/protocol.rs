//! Which protocol a request speaks.

use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};

/// Who serves a request.
pub(super) enum Protocol {
    /// tonic.
    Grpc,
    /// tonic-web, under this content type.
    GrpcWeb(HeaderValue),
    /// connectrpc: Connect in all its forms, and the JSON codec of every protocol.
    Connect,
    /// Nobody.
    Refused(Refusal),
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
            "-web" | "-web+proto" | "-web-text" | "-web-text+proto" => match HeaderValue::try_from(essence) {
                Ok(content_type) => Self::GrpcWeb(content_type),
                Err(_) => Self::Refused(Refusal::Codec),
            },
            _ => Self::Refused(Refusal::Codec),
        };
        match protocol {
            _ if request.method() != Method::POST => Self::Refused(Refusal::Verb),
            Self::Grpc if request.version() < Version::HTTP_2 => Self::Refused(Refusal::HttpVersion),
            protocol => protocol,
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
            Protocol::GrpcWeb(content_type) => format!("tonic-web {}", content_type.to_str().unwrap()),
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
            ("application/grpc-web", "tonic-web application/grpc-web"),
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
}
