use std::time::Duration;

use crate::http::HttpError;
use crate::rest::Call;

/// Why GitHub did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// It does not exist, or the token may not see it; GitHub does not tell which.
    #[error("{what} is not on GitHub, or github.token may not see it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The token is missing, wrong or expired.
    #[error("GitHub at {host} does not accept the credentials: check github.token (tokens expire)")]
    Unauthorized {
        /// Host and port.
        host: String,
    },
    /// The token lacks a permission.
    #[error("GitHub forbids {what}: github.token needs {grant}{}", detail(message))]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The permission to grant.
        grant: &'static str,
        /// What GitHub says.
        message: String,
    },
    /// The request is wrong: a mistake in the configuration or in the product.
    #[error("GitHub refuses {what}{}", detail(message))]
    Invalid {
        /// What was asked for.
        what: String,
        /// What GitHub says.
        message: String,
        /// The fields that it complains about.
        fields: Vec<String>,
    },
    /// The answer is not what the API promises.
    #[error("GitHub answered something unexpected to {what}: {why}")]
    Unexpected {
        /// What was asked for.
        what: String,
        /// What is odd.
        why: String,
    },
    /// No good answer.
    #[error("GitHub does not answer as it should")]
    Http(#[from] HttpError),
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl GitHubError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_transient())
    }

    /// How long GitHub asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(HttpError::RateLimited { retry_after, .. }) => Some(*retry_after),
            _ => None,
        }
    }

    pub(super) fn unexpected(call: &Call, why: impl Into<String>) -> Self {
        Self::Unexpected { what: call.what.clone(), why: why.into() }
    }

    /// Whether a write may have been done all the same.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Http(HttpError::Ambiguous { .. }))
    }
}
