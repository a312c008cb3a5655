//! Why a clone failed, read off what git said.

use super::stderr::Tail;

/// Why a repository could not be fetched. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloneError {
    /// The server knows no such repository, or does not say so.
    #[error("the repository was not found")]
    NotFound,
    /// The server wants to know who asks; many servers answer so for repositories that do not exist.
    #[error("the repository does not exist or asks for credentials")]
    AuthenticationNeeded,
    /// ssh has never seen this server.
    #[error("the host's ssh key is not known to the gateway")]
    UnknownHostKey,
    /// The server's certificate is not trusted.
    #[error("the host's certificate is not trusted")]
    UntrustedHost,
    /// The server sends its clients elsewhere; they might be led into a private network.
    #[error("the host redirects to another address: name that address instead")]
    Redirected,
    /// Git was asked for a transport that is closed.
    #[error("the repository's transport is not allowed")]
    TransportRefused,
    /// No connection, or it was cut.
    #[error("the repository's host cannot be reached")]
    Unreachable,
    /// Took longer than it may.
    #[error("fetching the repository took too long")]
    Timeout,
    /// Larger than it may be on disk.
    #[error("the repository is larger than the gateway may fetch")]
    TooLarge,
    /// The gateway's disk is full or closed.
    #[error("the gateway cannot store the repository")]
    Storage,
    /// No `git` in the path.
    #[error("the gateway has no git program")]
    GitMissing,
    /// A `git` that cannot be bound to one network address.
    #[error("the gateway's git program is too old: version 2.37 is needed")]
    GitTooOld,
    /// The server cannot send only the newest commit.
    #[error("the host cannot send part of a repository")]
    NotShallow,
    /// The run was cancelled.
    #[error("fetching the repository was cancelled")]
    Cancelled,
    /// Anything else; the log knows more.
    #[error("the repository could not be fetched")]
    Failed,
}

/// What git says, in lower case, and what it means. The first that is found counts; those that servers put their own
/// words around come last.
const SAYINGS: [(&str, CloneError); 45] = [
    ("dumb http transport does not support shallow", CloneError::NotShallow),
    ("no space left on device", CloneError::Storage),
    ("disk quota exceeded", CloneError::Storage),
    ("could not create work tree", CloneError::Storage),
    ("could not create leading directories", CloneError::Storage),
    ("read-only file system", CloneError::Storage),
    ("host key verification failed", CloneError::UnknownHostKey),
    ("remote host identification has changed", CloneError::UnknownHostKey),
    ("ssl certificate", CloneError::UntrustedHost),
    ("certificate verif", CloneError::UntrustedHost),
    ("ssl_connect", CloneError::Unreachable),
    ("' not allowed", CloneError::TransportRefused),
    ("unable to find remote helper", CloneError::TransportRefused),
    ("returned error: 301", CloneError::Redirected),
    ("returned error: 302", CloneError::Redirected),
    ("returned error: 303", CloneError::Redirected),
    ("returned error: 307", CloneError::Redirected),
    ("returned error: 308", CloneError::Redirected),
    ("unable to update url base from redirection", CloneError::Redirected),
    ("returned error: 401", CloneError::AuthenticationNeeded),
    ("returned error: 403", CloneError::AuthenticationNeeded),
    ("returned error: 404", CloneError::NotFound),
    ("returned error: 410", CloneError::NotFound),
    ("authentication failed", CloneError::AuthenticationNeeded),
    ("could not read username", CloneError::AuthenticationNeeded),
    ("could not read password", CloneError::AuthenticationNeeded),
    ("terminal prompts disabled", CloneError::AuthenticationNeeded),
    ("permission denied", CloneError::AuthenticationNeeded),
    ("could not resolve host", CloneError::Unreachable),
    ("unable to look up", CloneError::Unreachable),
    ("failed to connect", CloneError::Unreachable),
    ("couldn't connect", CloneError::Unreachable),
    ("unable to connect", CloneError::Unreachable),
    ("connection refused", CloneError::Unreachable),
    ("connection timed out", CloneError::Unreachable),
    ("connection reset", CloneError::Unreachable),
    ("network is unreachable", CloneError::Unreachable),
    ("no route to host", CloneError::Unreachable),
    ("operation too slow", CloneError::Unreachable),
    ("does not appear to be a git repository", CloneError::NotFound),
    ("repository not exported", CloneError::NotFound),
    ("no such repository", CloneError::NotFound),
    ("not found", CloneError::NotFound),
    ("could not read from remote repository", CloneError::NotFound),
    ("the remote end hung up", CloneError::Unreachable),
];

impl CloneError {
    /// The code of the error that a client reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "repo_not_found",
            Self::AuthenticationNeeded => "repo_auth_required",
            Self::UnknownHostKey | Self::UntrustedHost | Self::Unreachable => "repo_unreachable",
            Self::Redirected | Self::TransportRefused => "repo_not_allowed",
            Self::Timeout => "repo_timeout",
            Self::TooLarge => "repo_too_large",
            Self::GitMissing | Self::GitTooOld => "git_missing",
            Self::Cancelled => "cancelled",
            Self::Storage | Self::NotShallow | Self::Failed => "repo_failed",
        }
    }

    /// True when the same clone may succeed another time.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Storage)
    }

    /// What the last words of a git that failed mean. Texts that are not its own are left out: the repository's
    /// address, its folder, and what the server says to people.
    pub(super) fn from_tail(tail: &Tail, address: &str) -> Self {
        let text = tail.text().replace(address, "").to_lowercase();
        let foreign = |line: &&str| line.starts_with("remote:") || line.starts_with("cloning into");
        let text = text.lines().filter(|it| !foreign(it)).collect::<Vec<_>>().join("\n");
        SAYINGS.iter().find(|(saying, _)| text.contains(saying)).map_or(Self::Failed, |(_, error)| *error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_understood_whatever_the_address_is_called() {
        let address = "https://host/ssl-certificate verification not found";
        for (said, error) in [
            ("fatal: unable to access 'ADDRESS/': Could not resolve host: x", CloneError::Unreachable),
            (
                "fatal: unable to access 'ADDRESS/': The requested URL returned error: 403",
                CloneError::AuthenticationNeeded,
            ),
            ("fatal: repository 'ADDRESS/' not found", CloneError::NotFound),
            ("remote: certificate verification failed\nfatal: early EOF", CloneError::Failed),
            ("fatal: transport 'ext' not allowed", CloneError::TransportRefused),
            (
                "fatal: could not read Username for 'https://host': terminal prompts disabled",
                CloneError::AuthenticationNeeded,
            ),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                CloneError::AuthenticationNeeded,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                CloneError::UnknownHostKey,
            ),
            (
                "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.",
                CloneError::Unreachable,
            ),
            (
                "fatal: unable to access 'ADDRESS/': server certificate verification failed. CAfile: none",
                CloneError::UntrustedHost,
            ),
        ] {
            let tail = Tail::new(&said.replace("ADDRESS", address));
            assert_eq!(CloneError::from_tail(&tail, address), error, "{said}");
        }
    }
}
