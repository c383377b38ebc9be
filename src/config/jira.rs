use serde::Deserialize;
use url::Url;

use crate::domain::AccountId;
use crate::secret::Secret;

/// Which Jira answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JiraDeployment {
    /// Atlassian's, REST v3.
    Cloud,
}

/// Section `[jira]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JiraConfig {
    /// The site that people open, e.g. `https://acme.atlassian.net`; unset: no Jira.
    #[serde(default)]
    pub url: Option<Url>,
    /// Where the API is when it is not the site: scoped tokens need `https://api.atlassian.com/ex/jira/<cloud id>`.
    #[serde(default)]
    pub api_url: Option<Url>,
    /// Cloud.
    pub deployment: JiraDeployment,
    /// The account whose token it is.
    #[serde(default)]
    pub email: String,
    /// The API token.
    #[serde(default)]
    pub token: Secret,
    /// The account id of the agent; assigning a ticket to it is a trigger.
    #[serde(default)]
    pub agent_account_id: Option<AccountId>,
    /// Who gets the ticket once the pull request is open.
    #[serde(default)]
    pub reviewer_account_id: Option<AccountId>,
    /// The reviewer by a name: `LEIGH` takes the account id from `JIRA_ASSIGNEE_LEIGH_ACCOUNT_ID`.
    #[serde(default)]
    pub reviewer: Option<String>,
    /// States to move a ticket to once the pull request is open: the first that the ticket can reach.
    pub review_states: Vec<String>,
    /// The label that triggers.
    pub trigger_label: String,
}
