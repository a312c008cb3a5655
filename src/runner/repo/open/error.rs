//! Why a repository cannot be opened.

use crate::{
    model::RunError,
    runner::repo::{git::CloneError, policy::PolicyError},
};

/// Why a repository cannot be opened. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RepoError {
    /// It may not be read.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// It could not be fetched.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// The folder is closed to the gateway.
    #[error("the repository's folder cannot be opened")]
    Closed,
    /// The session keeps as many clones as it may.
    #[error("this session has fetched as many repositories as it may")]
    TooMany,
    /// Cancelled, or the session was forgotten meanwhile.
    #[error("opening the repository was cancelled")]
    Cancelled,
}

impl RepoError {
    /// The code of the error that a client reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::Policy(error) => error.code(),
            Self::Clone(error) => error.code(),
            Self::Closed => "repo_not_found",
            Self::TooMany => "repo_too_many",
            Self::Cancelled => "cancelled",
        }
    }

    /// True when the same repository may open another time.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Policy(error) => error == PolicyError::UnknownHost,
            Self::Clone(error) => error.is_retryable(),
            Self::Closed | Self::TooMany | Self::Cancelled => false,
        }
    }
}

impl From<RepoError> for RunError {
    fn from(error: RepoError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), retryable: error.is_retryable() }
    }
}
