//! Which repositories a client may name.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use url::Url;

use super::{
    address::{AddressError, RemoteAddress, RepoAddress, Scheme, host_text},
    addresses::is_public,
};

/// How long a name server may take. A client waits for it; after that the host counts as unknown.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPolicy {
    roots: Option<Vec<PathBuf>>,
    hosts: Option<Vec<HostRule>>,
    local_allowed: bool,
}

/// A server that the operator named: `host`, `host:port` or `scheme://host[:port]`. Without a scheme it is https,
/// without a port it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// A setting that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host: write `host`, `host:port` or `scheme://host[:port]` with https, http, ssh or git")]
pub struct HostRuleError(String);

/// A repository that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// In this folder; the path is canonical.
    Local(PathBuf),
    /// On this server.
    Remote {
        /// Where.
        address: RemoteAddress,
        /// The network addresses that its name stood for when they were looked at. Git must go there and nowhere else,
        /// so that a name cannot come to mean another machine in between. Empty where the operator named the host.
        pinned: Vec<IpAddr>,
    },
}

/// Why a repository may not be read. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No address at all.
    #[error(transparent)]
    Malformed(#[from] AddressError),
    /// Local paths are closed.
    #[error("this gateway does not read repositories from its own disk")]
    LocalNotAllowed,
    /// Outside of the roots.
    #[error("this path is not among those that the gateway may read")]
    OutsideRoots,
    /// No such folder.
    #[error("there is no folder at this path")]
    NoFolder,
    /// Another transport than https, and no rule for it.
    #[error("this gateway reads remote repositories by https only")]
    SchemeNotAllowed,
    /// Not among the configured hosts.
    #[error("this host is not among those that the gateway may read from")]
    HostNotAllowed,
    /// An address of a private network.
    #[error("this host is in a private network, which the gateway does not read from")]
    PrivateHost,
    /// No such name, or no answer.
    #[error("the repository's host could not be found")]
    UnknownHost,
}

impl RepoPolicy {
    /// `roots`: the only folders below which local repositories may be. `hosts`: the only servers. Where `roots` is not
    /// given, local paths are open just while the gateway listens on `loopback`, where its clients are its own machine's
    /// users.
    pub fn new(roots: Option<Vec<PathBuf>>, hosts: Option<Vec<HostRule>>, loopback: bool) -> Self {
        let local_allowed = roots.is_some() || loopback;
        Self { roots, hosts, local_allowed }
    }

    /// Decides over an address. Asks the disk for local ones and the name server for remote ones that no rule names.
    pub async fn admit(&self, address: RepoAddress) -> Result<Admitted, PolicyError> {
        match address {
            RepoAddress::Local(path) => self.admit_local(&path).map(Admitted::Local),
            RepoAddress::Remote(address) => {
                let pinned =
                    if self.check_remote(&address)? { Vec::new() } else { resolve(&address).await? };
                Ok(Admitted::Remote { address, pinned })
            }
        }
    }

    fn admit_local(&self, path: &Path) -> Result<PathBuf, PolicyError> {
        if !self.local_allowed {
            return Err(PolicyError::LocalNotAllowed);
        }
        let real = path.canonicalize();
        if let Some(roots) = &self.roots {
            // Outside of the roots a client must not even learn what exists.
            let inside = |path: &Path| {
                roots.iter().filter_map(|it| it.canonicalize().ok()).any(|root| path.starts_with(root))
            };
            if !real.as_deref().is_ok_and(inside) {
                let plain = path.components().all(|it| it != std::path::Component::ParentDir);
                let named_inside = plain && roots.iter().any(|it| path.starts_with(it));
                return Err(if real.is_err() && named_inside {
                    PolicyError::NoFolder
                } else {
                    PolicyError::OutsideRoots
                });
            }
        }
        real.ok().filter(|it| it.is_dir()).ok_or(PolicyError::NoFolder)
    }

    /// True when a rule names the server; then it may be anywhere.
    fn check_remote(&self, address: &RemoteAddress) -> Result<bool, PolicyError> {
        if let Some(rules) = &self.hosts {
            let named = rules.iter().any(|it| it.covers(address));
            return if named { Ok(true) } else { Err(PolicyError::HostNotAllowed) };
        }
        if address.scheme() != Scheme::Https {
            return Err(PolicyError::SchemeNotAllowed);
        }
        let host = address.host();
        let literal = host.parse::<IpAddr>();
        if host == "localhost" || host.ends_with(".localhost") || literal.is_ok_and(|it| !is_public(it)) {
            return Err(PolicyError::PrivateHost);
        }
        Ok(false)
    }
}

impl HostRule {
    /// True when the rule names the server of `address`.
    pub fn covers(&self, address: &RemoteAddress) -> bool {
        self.scheme == address.scheme() && self.host == address.host() && self.port == address.port()
    }
}

impl FromStr for HostRule {
    type Err = HostRuleError;

    fn from_str(text: &str) -> Result<Self, HostRuleError> {
        let error = || HostRuleError(text.to_owned());
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| error())?;
        let scheme = Scheme::parse(url.scheme()).ok_or_else(error)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        let host = host_text(&url).filter(|_| bare).ok_or_else(error)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { scheme, host, port: url.port().unwrap_or(scheme.default_port()) })
    }
}

impl PolicyError {
    /// The code of the error that a client reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) => "repo_malformed",
            Self::NoFolder => "repo_not_found",
            Self::UnknownHost => "repo_unreachable",
            Self::LocalNotAllowed
            | Self::OutsideRoots
            | Self::SchemeNotAllowed
            | Self::HostNotAllowed
            | Self::PrivateHost => "repo_not_allowed",
        }
    }
}

/// The network addresses of a server. One that is not public closes the whole name: an honest name has none.
async fn resolve(address: &RemoteAddress) -> Result<Vec<IpAddr>, PolicyError> {
    let found = tokio::net::lookup_host((address.host(), address.port()));
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, found).await.map_err(|_| PolicyError::UnknownHost)?;
    let found: Vec<IpAddr> =
        found.map_err(|_| PolicyError::UnknownHost)?.map(|it: SocketAddr| it.ip()).collect();
    if found.is_empty() {
        return Err(PolicyError::UnknownHost);
    }
    if found.iter().all(|it| is_public(*it)) { Ok(found) } else { Err(PolicyError::PrivateHost) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn admit(policy: &RepoPolicy, text: &str) -> Result<Admitted, PolicyError> {
        policy.admit(RepoAddress::parse(text)?).await
    }

    fn hosts(rules: &[&str]) -> RepoPolicy {
        let rules = rules.iter().map(|it| it.parse().unwrap()).collect();
        RepoPolicy::new(None, Some(rules), false)
    }

    #[tokio::test]
    async fn local_paths_are_open_on_loopback_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let real = Admitted::Local(folder.path().canonicalize().unwrap());
        let (near, far) = (RepoPolicy::new(None, None, true), RepoPolicy::new(None, None, false));
        for address in [path.to_owned(), format!("file://{path}")] {
            assert_eq!(admit(&near, &address).await, Ok(real.clone()));
            assert_eq!(admit(&far, &address).await, Err(PolicyError::LocalNotAllowed));
        }
        assert_eq!(admit(&near, &format!("{path}/none")).await, Err(PolicyError::NoFolder));
        assert_eq!(admit(&far, &format!("{path}/none")).await, Err(PolicyError::LocalNotAllowed));
    }

    #[tokio::test]
    async fn roots_hold_whatever_the_path_looks_like() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir_all(inside.join("repo")).unwrap();
        std::fs::create_dir_all(folder.path().join("inside-not")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let inside = inside.to_str().unwrap();
        for loopback in [true, false] {
            let policy = RepoPolicy::new(Some(vec![inside.into()]), None, loopback);
            assert!(admit(&policy, &format!("{inside}/repo")).await.is_ok());
            assert!(admit(&policy, &format!("{inside}/repo/../repo")).await.is_ok());
            assert_eq!(admit(&policy, &format!("{inside}/none")).await, Err(PolicyError::NoFolder));
            for path in [
                "/link",
                "/../out",
                "/repo/../../out",
                "/../none",
                "/link/none",
                "side-not",
                "/repo/../../none",
            ] {
                let refused = admit(&policy, &format!("{inside}{path}")).await;
                let hidden = matches!(refused, Err(PolicyError::OutsideRoots | PolicyError::NoFolder));
                assert!(hidden, "{path} {refused:?}");
                assert_eq!(refused == Err(PolicyError::NoFolder), path == "/link/none", "{path}");
            }
            assert_eq!(admit(&policy, "/").await, Err(PolicyError::OutsideRoots));
        }
    }

    #[tokio::test]
    async fn private_machines_are_closed() {
        let policy = RepoPolicy::new(None, None, true);
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "2130706433",
            "0177.1",
            "169.254.169.254",
            "localhost",
            "a.localhost",
            "LOCALHOST.",
            "[fd00::1]",
            "0",
        ] {
            let refused = admit(&policy, &format!("https://{host}/a/b")).await;
            assert_eq!(refused, Err(PolicyError::PrivateHost), "{host}");
        }
        let pinned = admit(&policy, "https://8.8.8.8/a").await;
        assert!(
            matches!(pinned, Ok(Admitted::Remote { pinned, .. }) if pinned == ["8.8.8.8".parse::<IpAddr>().unwrap()])
        );
    }

    #[tokio::test]
    async fn a_name_that_stands_for_a_private_machine_is_closed() {
        let RepoAddress::Remote(address) = RepoAddress::parse("https://localhost/a").unwrap() else {
            panic!()
        };
        assert_eq!(resolve(&address).await, Err(PolicyError::PrivateHost));
    }

    #[tokio::test]
    async fn only_https_is_open_by_default() {
        let policy = RepoPolicy::new(None, None, true);
        for address in ["http://8.8.8.8/a", "ssh://git@8.8.8.8/a", "git@8.8.8.8:a", "git://8.8.8.8/a"] {
            assert_eq!(admit(&policy, address).await, Err(PolicyError::SchemeNotAllowed), "{address}");
        }
    }

    #[tokio::test]
    async fn a_listed_host_is_open_as_it_is_listed() {
        let policy = hosts(&[
            "10.0.0.1",
            "git.corp:8443",
            "ssh://code.corp",
            "git://127.0.0.1:9999",
            "http://[::1]:80",
        ]);
        for address in [
            "https://10.0.0.1/a",
            "https://git.corp:8443/a",
            "ssh://git@code.corp/a",
            "git@code.corp:a/b",
            "git://127.0.0.1:9999/a",
            "http://[::1]/a",
        ] {
            let admitted = admit(&policy, address).await;
            assert!(
                matches!(&admitted, Ok(Admitted::Remote { pinned, .. }) if pinned.is_empty()),
                "{address}: {admitted:?}"
            );
        }
        for address in [
            "https://8.8.8.8/a",
            "http://10.0.0.1/a",
            "https://10.0.0.1:8443/a",
            "https://git.corp/a",
            "https://code.corp/a",
            "ssh://git@code.corp:2222/a",
            "git://127.0.0.1/a",
            "https://x.git.corp:8443/a",
        ] {
            assert_eq!(admit(&policy, address).await, Err(PolicyError::HostNotAllowed), "{address}");
        }
    }

    #[test]
    fn a_rule_that_names_no_host_is_refused() {
        for rule in ["", "ftp://host", "https://host/path", "https://u@host", "a b", "file:///x", "*.host"] {
            assert!(rule.parse::<HostRule>().is_err(), "{rule:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_opens_the_disk_or_a_private_machine(text in r"(https?|ssh|git|file|ext)?(::|://|@)?[a-z0-9.:@\[\]/%-]{0,40}") {
            let policy = RepoPolicy::new(None, None, false);
            match RepoAddress::parse(&text) {
                Ok(RepoAddress::Remote(address)) => {
                    let open = policy.check_remote(&address).is_ok();
                    let private = address.host().parse().is_ok_and(|it: IpAddr| !is_public(it));
                    prop_assert!(!open || (address.scheme() == Scheme::Https && !private));
                    let again = RepoAddress::parse(&address.url());
                    prop_assert_eq!(again.map(|it| it.to_string()), Ok(address.url()));
                }
                Ok(RepoAddress::Local(path)) => {
                    prop_assert_eq!(policy.admit_local(&path), Err(PolicyError::LocalNotAllowed));
                }
                Err(_) => {}
            }
        }
    }
}
