use serde::Deserialize;
use url::Url;

use crate::secret::Secret;

/// Section `[github]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitHubConfig {
    /// Where repositories are cloned from and people look, e.g. `https://github.com`.
    pub url: Url,
    /// The REST API: `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server.
    pub api_url: Url,
    /// A personal access token with contents, issues and pull requests write.
    #[serde(default)]
    pub token: Secret,
    /// Logins asked for review.
    #[serde(default)]
    pub reviewers: Vec<String>,
    /// Team slugs asked for review.
    #[serde(default)]
    pub team_reviewers: Vec<String>,
    /// The label that triggers.
    pub trigger_label: String,
}
