use serde::Deserialize;

/// Section `[git]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitConfig {
    /// The committer's name.
    pub author_name: String,
    /// The committer's e-mail address.
    pub author_email: String,
    /// The branch for a Jira issue; `{key}` is its key.
    pub jira_branch: String,
    /// The branch for a GitHub issue; `{number}` is its number.
    pub github_branch: String,
}
