//! The address of a repository, read apart.

use std::{fmt, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use url::{Host, Url};

use crate::model::limits::SHORT_TEXT_BYTES;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepoAddress {
    /// In a folder of this machine; the path is absolute.
    Local(PathBuf),
    /// On a server.
    Remote(RemoteAddress),
}

/// A repository on a server. What is shown of it, by `Display` and `Debug` alike, has no credentials in it.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
    user: Option<String>,
    credentials: Option<Credentials>,
    path: String,
    scp_form: bool,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// The only one that is open when no hosts are configured.
    Https,
    /// Neither secret nor authentic.
    Http,
    /// By the `ssh` program and the keys of the gateway's user.
    Ssh,
    /// Git's own daemon; neither secret nor authentic.
    Git,
}

/// A text that is no address of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the repository's address is empty")]
    Empty,
    /// Longer than [`SHORT_TEXT_BYTES`].
    #[error("the repository's address is too long")]
    TooLong,
    /// Spaces or control characters inside.
    #[error("the repository's address contains a space or a control character")]
    Characters,
    /// Not a URL, not `user@host:path`, not an absolute path.
    #[error("this is no repository address: give a URL, user@host:path or an absolute path")]
    Shape,
    /// A URL of another kind than those of [`Scheme`].
    #[error("repositories are read by https, and by http, ssh or git where the operator allows it")]
    Scheme,
}

/// A name and a secret. Never shown.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    user: String,
    secret: String,
}

impl RepoAddress {
    /// Reads a URL, the scp form `user@host:path`, or an absolute path. Says nothing about whether it may be used.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > SHORT_TEXT_BYTES {
            return Err(AddressError::TooLong);
        }
        if text.starts_with('/') {
            // A folder's name may have spaces in it, but no control characters.
            let clean = !text.chars().any(char::is_control);
            return if clean { Ok(Self::Local(text.into())) } else { Err(AddressError::Characters) };
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Characters);
        }
        if !text.contains("://") {
            return parse_scp(text).map(Self::Remote).ok_or(AddressError::Shape);
        }
        let url = Url::parse(text).map_err(|_| AddressError::Shape)?;
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| AddressError::Shape)?;
            let clean = !path.to_string_lossy().chars().any(char::is_control);
            return if clean { Ok(Self::Local(path)) } else { Err(AddressError::Characters) };
        }
        let scheme = Scheme::parse(url.scheme()).ok_or(AddressError::Scheme)?;
        parse_url(scheme, &url).map(Self::Remote).ok_or(AddressError::Shape)
    }
}

impl fmt::Display for RepoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl RemoteAddress {
    /// How the server is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The server, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port, also where the address leaves it to its scheme.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// What git is given. Credentials are not in it: see [`Self::authorization`].
    pub fn url(&self) -> String {
        self.to_string()
    }

    /// The value of the HTTP header that carries the credentials of the address, when it has any.
    pub(super) fn authorization(&self) -> Option<String> {
        let Credentials { user, secret } = self.credentials.as_ref()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))))
    }

    /// The texts that must not reach a log, should the server repeat them.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some(Credentials { user, secret }) = &self.credentials else { return Vec::new() };
        // A name without a secret is a token itself.
        let texts = if secret.is_empty() { vec![user.clone()] } else { vec![secret.clone()] };
        texts.into_iter().chain(self.authorization()).collect()
    }

    /// The same repository at the path that ends in `.git`, which some servers insist on.
    pub(super) fn with_git_suffix(&self) -> Option<Self> {
        let path = self.path.trim_end_matches('/');
        (!path.ends_with(".git")).then(|| Self { path: format!("{path}.git"), ..self.clone() })
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, user, path, .. } = self;
        let user = user.as_ref().map(|it| format!("{it}@")).unwrap_or_default();
        if self.scp_form {
            return write!(f, "{user}{host}:{path}");
        }
        let port = port.map(|it| format!(":{it}")).unwrap_or_default();
        write!(f, "{}://{user}{host}{port}{path}", scheme.name())
    }
}

impl fmt::Debug for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAddress({self})")
    }
}

impl Scheme {
    /// The scheme of a URL.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "https" => Self::Https,
            "http" => Self::Http,
            "ssh" | "git+ssh" | "ssh+git" => Self::Ssh,
            "git" => Self::Git,
            _ => return None,
        })
    }

    /// As it stands in a URL; also git's name for the transport.
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }

    /// Where its servers listen unless told otherwise.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
            Self::Git => 9418,
        }
    }
}

fn parse_url(scheme: Scheme, url: &Url) -> Option<RemoteAddress> {
    let host = host_text(url)?;
    let port = url.port().filter(|it| *it != scheme.default_port());
    let path = repository_path(&host, url.path());
    if path.trim_matches('/').is_empty() || path.starts_with("/-") {
        return None;
    }
    let name = percent_decoded(url.username())?;
    let secret = percent_decoded(url.password().unwrap_or_default())?;
    let mut address =
        RemoteAddress { scheme, host, port, user: None, credentials: None, path, scp_form: false };
    match scheme {
        _ if name.is_empty() && secret.is_empty() => {}
        Scheme::Https | Scheme::Http => address.credentials = Some(Credentials { user: name, secret }),
        // ssh has keys, not passwords; a name is needed to log in with.
        Scheme::Ssh if is_user(&name) => address.user = Some(name),
        Scheme::Ssh => return None,
        Scheme::Git => {}
    }
    Some(address)
}

fn parse_scp(text: &str) -> Option<RemoteAddress> {
    let (user, rest) = text.split_once('@')?;
    let (host, path) = rest.split_once(':')?;
    let host = host.to_ascii_lowercase();
    let path_fits = !path.trim_matches('/').is_empty() && !path.starts_with('-') && !path.starts_with(':');
    (is_user(user) && is_host(&host) && path_fits).then(|| RemoteAddress {
        scheme: Scheme::Ssh,
        host,
        port: None,
        user: Some(user.to_owned()),
        credentials: None,
        path: path.to_owned(),
        scp_form: true,
    })
}

/// The host of a URL, in lower case, IPv6 in brackets. The parser has already turned the odd spellings of IPv4
/// addresses into the usual one, for the schemes it knows; this does it for the others.
pub(super) fn host_text(url: &Url) -> Option<String> {
    let host = match url.host()? {
        Host::Domain(name) => Host::parse(name).ok()?,
        Host::Ipv4(ip) => Host::Ipv4(ip),
        Host::Ipv6(ip) => Host::Ipv6(ip),
    };
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            is_host(&name).then_some(name)
        }
        other => Some(other.to_string()),
    }
}

/// People paste what their browser shows: a page inside the repository becomes the repository.
fn repository_path(host: &str, path: &str) -> String {
    let path = path.split("/-/").next().unwrap_or(path);
    if host != "github.com" {
        return path.to_owned();
    }
    let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).take(2).collect();
    format!("/{}", segments.join("/"))
}

fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(fits) && !text.starts_with(['-', '.'])
}

fn is_user(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    !text.is_empty() && text.chars().all(fits) && !text.starts_with('-')
}

/// `None` when what comes out is no clean text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match hex.and_then(|it| u8::from_str_radix(it, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]),
            None => (bytes.push(*first), rest = tail),
        };
    }
    String::from_utf8(bytes).ok().filter(|it| !it.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> RemoteAddress {
        match RepoAddress::parse(text) {
            Ok(RepoAddress::Remote(remote)) => remote,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_address_is_read_apart() {
        for (text, url, port) in [
            ("https://GitHub.com/a/b.git", "https://github.com/a/b.git", 443),
            ("https://host:443/a", "https://host/a", 443),
            (" http://host:8080/a/b ", "http://host:8080/a/b", 8080),
            ("ssh://git@host/a", "ssh://git@host/a", 22),
            ("ssh://host:2222/a", "ssh://host:2222/a", 2222),
            ("git@Host:a/b.git", "git@host:a/b.git", 22),
            ("git://[::1]:9000/a", "git://[::1]:9000/a", 9000),
            ("https://0x7f.1/a", "https://127.0.0.1/a", 443),
            ("git://0x7f.1/a", "git://127.0.0.1/a", 9418),
            ("https://host./a", "https://host/a", 443),
            ("https://github.com/a/b/tree/main/src?tab=x#readme", "https://github.com/a/b", 443),
            ("https://git.example/g/sub/p/-/blob/main/x", "https://git.example/g/sub/p", 443),
        ] {
            let remote = remote(text);
            assert_eq!((remote.url().as_str(), remote.port()), (url, port), "{text}");
        }
        for (text, path) in
            [("/srv/a b", "/srv/a b"), ("file:///srv/x%20y", "/srv/x y"), ("file://localhost/x", "/x")]
        {
            assert_eq!(RepoAddress::parse(text), Ok(RepoAddress::Local(path.into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        use AddressError::*;
        for (text, error) in [
            ("", Empty),
            (&*"x".repeat(3000), TooLong),
            ("https://host/a b", Characters),
            ("/srv/a\nb", Characters),
            ("file:///a%0ab", Characters),
            ("a/b", Shape),
            ("~/x", Shape),
            ("host:path", Shape),
            ("https://", Shape),
            ("https://host", Shape),
            ("https://host/", Shape),
            ("file://elsewhere/x", Shape),
            ("ext::sh -c id", Characters),
            ("ext::sh", Shape),
            ("fd::17", Shape),
            ("ext::https://host/x", Scheme),
            ("ftp://host/x", Scheme),
            ("-oProxyCommand=id@host:x", Shape),
            ("git@-oProxyCommand=id:x", Shape),
            ("git@host:-x", Shape),
            ("ssh://-oProxyCommand=id/x", Shape),
            ("ssh://host/-x", Shape),
            ("ssh://%2doProxyCommand/x", Shape),
        ] {
            let refused = RepoAddress::parse(text);
            assert_eq!(refused, Err(error), "{text:?}");
        }
    }

    #[test]
    fn credentials_are_used_and_never_shown() {
        let remote = remote("https://ann:s3cr%40t@host/a");
        assert_eq!(
            remote.authorization().unwrap(),
            format!("Basic {}", BASE64_STANDARD.encode("ann:s3cr@t"))
        );
        let shown = format!("{remote} {remote:?} {}", remote.url());
        assert!(!shown.contains("s3cr") && !shown.contains("ann"), "{shown}");
        assert!(remote.secrets().contains(&"s3cr@t".to_owned()));
    }
}
