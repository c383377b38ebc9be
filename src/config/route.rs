use serde::Deserialize;

use crate::domain::{BranchName, Mode, RepoUrl};

/// One `[[routes]]` entry: which tickets belong to which repository. Every condition that is set must hold. Only
/// repositories named here are ever touched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The repository's address.
    pub repo: RepoUrl,
    /// Jira project keys; empty: any.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Jira component names; empty: any.
    #[serde(default)]
    pub components: Vec<String>,
    /// Labels of which the ticket must have one; empty: any.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The branch to start from; unset: the repository's default.
    #[serde(default)]
    pub base_branch: Option<BranchName>,
    /// The mode when neither the task nor a label names one; unset: `worker.default_mode`.
    #[serde(default)]
    pub mode: Option<Mode>,
}
