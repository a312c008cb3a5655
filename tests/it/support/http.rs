//! HTTP without manners: one request on one connection, with nothing added and nothing taken away.

use std::{net::SocketAddr, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The version of HTTP that a request is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// With prior knowledge, as on a port without TLS.
    Http2,
}

/// A response whose body is still to come. The connection ends with this value.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    _connection: JoinSet<()>,
}

/// A response that has come whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// Sends a request on a connection of its own.
pub(crate) async fn send<B>(
    address: SocketAddr,
    version: Version,
    request: Request<B>,
) -> Result<Response, BoxError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(TcpStream::connect(address).await?);
    let mut connection = JoinSet::new();
    let request = absolute(address, version, request);
    // The connection is driven beside the request and may outlive it: a server may answer before it has read all.
    let response: Pin<Box<dyn Future<Output = _> + Send>> = match version {
        Version::Http1 => {
            let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await?;
            connection.spawn(async move { drop(driver.await) });
            Box::pin(async move { sender.send_request(request).await })
        }
        Version::Http2 => {
            let (mut sender, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            connection.spawn(async move { drop(driver.await) });
            Box::pin(async move { sender.send_request(request).await })
        }
    };
    let (parts, body) = response.await?.into_parts();
    Ok(Response { status: parts.status, headers: parts.headers, body, _connection: connection })
}

/// `GET` of a path over HTTP/1.1.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Whole {
    try_get(address, path).await.unwrap()
}

/// The same where it may fail.
pub(crate) async fn try_get(address: SocketAddr, path: &str) -> Result<Whole, BoxError> {
    let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    send(address, Version::Http1, request).await?.whole().await
}

/// The request as the version wants it: HTTP/1.1 names the host in a header, HTTP/2 in the URI.
fn absolute<B>(address: SocketAddr, version: Version, mut request: Request<B>) -> Request<B> {
    match version {
        Version::Http1 => {
            let host = address.to_string().parse().unwrap();
            request.headers_mut().entry("host").or_insert(host);
        }
        Version::Http2 => {
            *request.uri_mut() = format!("http://{address}{}", request.uri()).parse().unwrap();
        }
    }
    request
}

impl Response {
    /// The next piece of the body; `Ok(None)` at its end, trailers passed over.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BoxError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// A header as text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// Reads the rest.
    pub(crate) async fn whole(self) -> Result<Whole, BoxError> {
        let collected = self.body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Whole { status: self.status, headers: self.headers, body: collected.to_bytes(), trailers })
    }
}

impl Whole {
    /// A header as text; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |it| it.to_str().unwrap())
}
