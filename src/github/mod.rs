//! GitHub: issues, comments, pull requests, permissions. REST, version 2022-11-28; github.com or an Enterprise Server.
//!
//! <https://docs.github.com/en/rest>

mod call;
mod comments;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod issues;
mod limits;
mod memory;
mod pulls;
mod repos;
mod reviews;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use url::Url;

use crate::config::GitHubConfig;
use crate::domain::{AccountId, RepoSlug};
use crate::http::Http;
use crate::rest::Call;
use crate::secret::Secret;

pub use error::GitHubError;
pub use issues::IssueOutcome;
pub use limits::github_limit;
pub use pulls::{NewPull, PullOutcome, PullRequest, PullState};
pub use repos::{Permission, Repository};
pub use reviews::ReviewersOutcome;

/// One GitHub. Clones share everything.
#[derive(Debug, Clone)]
pub struct GitHub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    api: Url,
    credentials: Credentials,
    login: OnceCell<AccountId>,
}

/// Where tokens come from. A GitHub App, whose tokens are made per repository and expire, is another variant.
#[derive(Debug)]
enum Credentials {
    /// A personal access token, the same for every repository; empty: none is sent.
    Token(Secret),
}

impl Credentials {
    async fn token(&self, _repository: Option<&RepoSlug>) -> Result<Secret, GitHubError> {
        match self {
            Self::Token(token) => Ok(token.clone()),
        }
    }
}

impl GitHub {
    /// A client by the settings.
    #[must_use]
    pub fn new(config: &GitHubConfig, http: Http) -> Self {
        let inner = Inner {
            http: http.with_limits(github_limit),
            api: config.api_url.clone(),
            credentials: Credentials::Token(config.token.clone()),
            login: OnceCell::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// A token for git in this repository, valid now; empty when none is configured.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn token(&self, repository: &RepoSlug) -> Result<Secret, GitHubError> {
        self.inner.credentials.token(Some(repository)).await
    }

    /// The login whose token is used; asked once.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn user(&self) -> Result<AccountId, GitHubError> {
        let ask = async {
            let call = Call::get("the own account", "a valid token").at(["user"]);
            let user: wire::User = self.read(None, &call).await?;
            user.account().ok_or_else(|| GitHubError::unexpected(&call, "it has no login"))
        };
        self.inner.login.get_or_try_init(|| ask).await.cloned()
    }

    /// What time it is at GitHub, to the second, to find a clock that is wrong. Asks for the rate limit, which counts
    /// towards none.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn server_time(&self) -> Result<Timestamp, GitHubError> {
        let call = Call::get("the server's time", "a valid token").at(["rate_limit"]);
        let response = self.send(None, &call).await?;
        response.date().ok_or_else(|| GitHubError::unexpected(&call, "the answer has no Date header"))
    }
}
