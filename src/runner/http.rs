//! What the HTTP clients of workers have in common.

use reqwest::{Client, ClientBuilder};
use url::{Host, Url};

/// The beginning of a client for servers on the `loopback`, or elsewhere.
pub(super) fn client(loopback: bool) -> ClientBuilder {
    // The process-wide choice of a TLS implementation. An error means that it was made before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().user_agent(concat!("rungate/", env!("CARGO_PKG_VERSION")));
    // A proxy's loopback is another one.
    if loopback { client.no_proxy() } else { client }
}

/// True when the address is one of this machine alone.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
