//! Where the gateway is.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Scheme};

/// Where a gateway listens when nobody says otherwise.
const DEFAULT: &str = "http://127.0.0.1:8080";

/// The address of a gateway: `http` or `https`, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GatewayUrl {
    uri: Uri,
    shown: String,
}

/// The text is no address of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write http://HOST:PORT or https://HOST:PORT")]
pub(super) struct GatewayUrlError;

impl GatewayUrl {
    /// The address as connections take it.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// True when the way there is encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Host and port as a part of a file name: `127.0.0.1_8080`.
    pub(super) fn file_name(&self) -> String {
        let port = self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 });
        let host = self.uri.host().unwrap_or_default().to_lowercase();
        let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        format!("{}_{port}", host.chars().map(safe).collect::<String>())
    }

    /// What has to be added to a command that is shown to the person, so that it reaches this gateway.
    pub(super) fn as_argument(&self) -> String {
        if self.shown == DEFAULT { String::new() } else { format!(" --gateway {}", self.shown) }
    }
}

impl FromStr for GatewayUrl {
    type Err = GatewayUrlError;

    fn from_str(text: &str) -> Result<Self, GatewayUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let shown = format!("{scheme}://{}", rest.trim_end_matches('/'));
        let uri: Uri = shown.parse().map_err(|_| GatewayUrlError)?;
        let known = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().is_some_and(|it| !it.is_empty());
        let bare = uri.path().trim_matches('/').is_empty() && uri.query().is_none();
        if known && host && bare { Ok(Self { uri, shown }) } else { Err(GatewayUrlError) }
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_clear() {
        for (text, shown, file_name) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1_8080"),
            ("127.0.0.1:8080/", "http://127.0.0.1:8080", "127.0.0.1_8080"),
            ("https://Gate.example", "https://Gate.example", "gate.example_443"),
            ("http://[::1]:9", "http://[::1]:9", "___1__9"),
        ] {
            let url: GatewayUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.file_name().as_str()), (shown, file_name));
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in ["", "ftp://a", "http://", "http://a/path", "unix:/run/x", "http://a b"] {
            assert_eq!(text.parse::<GatewayUrl>(), Err(GatewayUrlError), "{text:?}");
        }
    }

    #[test]
    fn the_default_gateway_needs_no_argument() {
        assert_eq!(DEFAULT.parse::<GatewayUrl>().unwrap().as_argument(), "");
        assert_eq!("a:1".parse::<GatewayUrl>().unwrap().as_argument(), " --gateway http://a:1");
    }
}
