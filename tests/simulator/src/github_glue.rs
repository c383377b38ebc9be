//! Where GitHub joins the others: the scenario's section about it, and its token.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::github::{GitHub, IssueSeed, Permission};

/// The token of the agent's account unless a scenario says otherwise.
pub const TOKEN: &str = "ghp_SimulatedGitHubToken00NotARealSecret";
/// The login of the agent's account unless a scenario says otherwise.
pub const LOGIN: &str = "jira-agent";

/// Section `[github]` of a scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GitHubSection {
    /// The agent's token.
    pub(crate) token: String,
    /// The login that the token belongs to; it may write to every repository.
    login: String,
    /// People without a right of their own.
    users: Vec<String>,
    repositories: Vec<RepositorySection>,
    issues: Vec<IssueSection>,
}

impl Default for GitHubSection {
    fn default() -> Self {
        let (token, login) = (TOKEN.to_owned(), LOGIN.to_owned());
        Self { token, login, users: Vec::new(), repositories: Vec::new(), issues: Vec::new() }
    }
}

impl GitHubSection {
    /// The names of the repositories, `owner/name`.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.iter().map(|repository| repository.name.as_str())
    }
}

/// A repository whose first commit holds a folder's files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositorySection {
    /// `owner/name`.
    name: String,
    /// The folder, seen from the scenario file's own.
    folder: PathBuf,
    /// Who may do what.
    #[serde(default)]
    permissions: Vec<PermissionSection>,
    /// Teams that can be asked for review.
    #[serde(default)]
    teams: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PermissionSection {
    login: String,
    permission: Right,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Right {
    Read,
    Triage,
    Write,
    Maintain,
    Admin,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueSection {
    /// `owner/name`.
    repository: String,
    #[serde(default)]
    number: Option<u64>,
    title: String,
    #[serde(default)]
    body: Option<String>,
    /// The author's login; unset: `reporter`.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    assignees: Vec<String>,
    #[serde(default)]
    comments: Vec<CommentSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommentSection {
    user: String,
    text: String,
}

impl GitHubSection {
    /// Fills GitHub. Blocks while git works.
    pub(crate) fn fill(self, github: &GitHub, base: &Path) -> anyhow::Result<()> {
        github.add_token(&self.token, &self.login);
        for user in &self.users {
            github.add_user(user);
        }
        for repository in &self.repositories {
            let name = &repository.name;
            github
                .add_repository_from_dir(name, &base.join(&repository.folder))
                .with_context(|| format!("repository {name}"))?;
            github.set_permission(name, &self.login, Permission::Write)?;
            for PermissionSection { login, permission } in &repository.permissions {
                github.set_permission(name, login, (*permission).into())?;
            }
            for team in &repository.teams {
                github.add_team(name, team)?;
            }
        }
        for issue in self.issues {
            issue.fill(github)?;
        }
        Ok(())
    }
}

impl IssueSection {
    fn fill(self, github: &GitHub) -> anyhow::Result<()> {
        let Self { repository, number, title, body, user, labels, assignees, comments } = self;
        let user = Some(user.unwrap_or_else(|| "reporter".to_owned()));
        let named = format!("issue {title:?} of {repository}");
        let seed = IssueSeed { number, title, body, user, labels, assignees, open: true };
        let number = github.add_issue(&repository, seed).with_context(|| named.clone())?;
        for CommentSection { user, text } in comments {
            github.add_comment(&repository, number, Some(&user), &text).with_context(|| named.clone())?;
        }
        Ok(())
    }
}

impl From<Right> for Permission {
    fn from(right: Right) -> Self {
        match right {
            Right::Read => Self::Read,
            Right::Triage => Self::Triage,
            Right::Write => Self::Write,
            Right::Maintain => Self::Maintain,
            Right::Admin => Self::Admin,
        }
    }
}
