use std::time::Duration;

use crate::http::HttpError;
use crate::rest::Call;

/// Why Jira did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JiraError {
    /// It does not exist, or the account may not see it; Jira does not tell which.
    #[error("{what} is not in Jira, or the account of jira.email may not see it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The credentials are wrong or expired.
    #[error(
        "Jira at {host} does not accept the credentials: check jira.email and jira.token (tokens expire, and a scoped token \
         works only with jira.api_url = https://api.atlassian.com/ex/jira/<cloud id>)"
    )]
    Unauthorized {
        /// Host and port.
        host: String,
    },
    /// The account lacks a permission.
    #[error("Jira forbids {what}: the account of jira.email needs {grant}{}", detail(message))]
    Forbidden {
        /// What was asked for.
        what: String,
        /// The permission to grant.
        grant: &'static str,
        /// What Jira says.
        message: String,
    },
    /// The request is wrong: a mistake in the configuration or in the product.
    #[error("Jira refuses {what}{}", detail(message))]
    Invalid {
        /// What was asked for.
        what: String,
        /// What Jira says.
        message: String,
        /// The fields that it complains about.
        fields: Vec<String>,
    },
    /// The answer is not what the API promises.
    #[error("Jira answered something unexpected to {what}: {why}")]
    Unexpected {
        /// What was asked for.
        what: String,
        /// What is odd.
        why: String,
    },
    /// No good answer.
    #[error("Jira does not answer as it should")]
    Http(#[from] HttpError),
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl JiraError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_transient())
    }

    /// How long Jira asks to wait.
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
