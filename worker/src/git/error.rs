use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a transfer with the remote failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum GitError {
    /// No connection, or it broke.
    #[error("cannot talk to {host}: {detail}; check the network, `http.proxy` and `http.ca_file`")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the network said.
        detail: String,
    },
    /// The remote was silent for too long, or the whole transfer took too long.
    #[error("the transfer with {host} was stopped: {limit:?} passed {waiting}")]
    TimedOut {
        /// Host and port.
        host: String,
        /// The limit that was reached.
        limit: Duration,
        /// What was waited for.
        waiting: String,
    },
    /// The caller's token was cancelled.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The remote refused the credential (401) or what it may do (403).
    #[error("{host} refused the token (HTTP {status}): {detail}; check `github.token` and its rights")]
    Unauthorized {
        /// Host and port.
        host: String,
        /// 401 or 403.
        status: u16,
        /// The remote's words, cut and cleaned.
        detail: String,
    },
    /// There is no such repository, or the token may not see it.
    #[error("{url} does not exist or the token may not see it")]
    NotFound {
        /// The repository's address.
        url: String,
    },
    /// The remote asks to come back later.
    #[error("{host} limits the rate of requests")]
    RateLimited {
        /// Host and port.
        host: String,
        /// How long it asks to wait, when it says so.
        retry_after: Option<Duration>,
    },
    /// The remote failed.
    #[error("{host} failed with HTTP {status}")]
    ServerError {
        /// Host and port.
        host: String,
        /// 500 to 599.
        status: u16,
    },
    /// The repository has no such branch.
    #[error("{url} has no branch `{branch}`; check `base_branch` of the task or route")]
    BranchMissing {
        /// The repository's address.
        url: String,
        /// The branch, or `HEAD` where the default branch is missing.
        branch: String,
    },
    /// The repository has no commit yet.
    #[error("{url} is empty: it needs a first commit")]
    Empty {
        /// The repository's address.
        url: String,
    },
    /// What the remote sent cannot be understood, or breaks off.
    #[error("{host} sent something that is not whole: {detail}")]
    Corrupt {
        /// Host and port.
        host: String,
        /// What libgit2 said.
        detail: String,
    },
    /// Anything else: a local failure, an answer that is not git's.
    #[error("{detail}")]
    Other {
        /// What happened, as a sentence.
        detail: String,
    },
}

impl GitError {
    /// How long the remote asks to wait, when it limits the rate of requests: one minute where it does not say.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(Duration::from_secs(60))),
            _ => None,
        }
    }

    /// Whether trying again later may help. What happened on this machine alone (`Other`: no memory, no room, a child
    /// that died) may be gone on the next one.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::RateLimited { .. }
            | Self::ServerError { .. }
            | Self::Corrupt { .. }
            | Self::Cancelled
            | Self::Other { .. } => true,
            Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::BranchMissing { .. }
            | Self::Empty { .. } => false,
        }
    }
}
