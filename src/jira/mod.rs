//! Jira: tickets, comments, transitions, links. Cloud, REST v3; what differs on Data Center is decided by
//! [`JiraDeployment`] alone (API version, rich text, authorisation).
//!
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>

pub mod adf;
mod call;
mod comments;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod issue;
mod links;
mod search;
mod transitions;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use crate::config::{JiraConfig, JiraDeployment};
use crate::domain::{AccountId, IssueKey};
use crate::http::Http;
use crate::rest::Call;
use crate::secret::Secret;

pub use error::JiraError;
pub use links::RemoteLink;
pub use search::FoundIssue;
pub use transitions::{MoveOutcome, RequiredField, Transition};

/// The key under which the product keeps its properties on issues and comments.
const PROPERTY: &str = "jira-agent";

/// The key of the issue property with a request to cancel.
const CANCEL_PROPERTY: &str = "jira-agent-cancel";

/// One Jira site. Clones share everything.
#[derive(Debug, Clone)]
pub struct Jira {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: Http,
    /// Where people look.
    site: Url,
    /// Where the API is.
    api: Url,
    deployment: JiraDeployment,
    email: String,
    token: Secret,
    agent: Option<AccountId>,
    myself: OnceCell<Myself>,
}

/// The account whose token is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Myself {
    /// Its id.
    pub account: AccountId,
    /// The name people see.
    pub name: String,
}

impl Jira {
    /// A client by the settings.
    ///
    /// # Errors
    /// When `jira.url` is not set.
    pub fn new(config: &JiraConfig, http: Http) -> anyhow::Result<Self> {
        let site = config.url.clone().context(
            "jira.url is not set; set it to the site that people open, e.g. https://acme.atlassian.net",
        )?;
        let inner = Inner {
            http,
            api: config.api_url.clone().unwrap_or_else(|| site.clone()),
            site,
            deployment: config.deployment,
            email: config.email.clone(),
            token: config.token.clone(),
            agent: config.agent_account_id.clone(),
            myself: OnceCell::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where people see the ticket: always on the site, wherever the API is.
    #[must_use]
    pub fn browse_url(&self, key: &IssueKey) -> String {
        format!("{}/browse/{key}", self.inner.site.as_str().trim_end_matches('/'))
    }

    /// The account whose token is used; asked once.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn myself(&self) -> Result<Myself, JiraError> {
        let ask = async {
            let user: wire::User = self.read(&myself_call()).await?;
            let account = user.account().ok_or_else(|| JiraError::Unexpected {
                what: "the own account".to_owned(),
                why: "it has no id".to_owned(),
            })?;
            Ok(Myself { account, name: user.display_name })
        };
        self.inner.myself.get_or_try_init(|| ask).await.cloned()
    }

    /// What time it is at Jira, to the second, to find a clock that is wrong.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn server_time(&self) -> Result<Timestamp, JiraError> {
        let response = self.send(&myself_call()).await?;
        response.date().ok_or_else(|| JiraError::Unexpected {
            what: "the server's time".to_owned(),
            why: "the answer has no Date header".to_owned(),
        })
    }

    /// Markdown in the form that bodies have.
    fn rich_text(&self, markdown: &str) -> Value {
        match self.inner.deployment {
            JiraDeployment::Cloud => adf::from_markdown(markdown),
        }
    }

    fn api_version(&self) -> &'static str {
        match self.inner.deployment {
            JiraDeployment::Cloud => "3",
        }
    }
}

fn myself_call() -> Call {
    Call::get("the own account", "a valid token (scope read:jira-user)").at(["myself"])
}
