//! Repositories: what they are, who may do what, branches and single files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;

use super::call::on;
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, BranchName, CommitId, RepoSlug};

const CONTENTS: &str = "the permission Contents: read";

/// A repository as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name now, which differs from the asked one when it was renamed.
    pub slug: RepoSlug,
    /// Where people see it.
    pub url: String,
    /// The branch that pull requests are for unless another is named.
    pub default_branch: BranchName,
    /// Whether it is read-only.
    pub archived: bool,
    /// Whether it is not public.
    pub private: bool,
    /// Whether the token's account may push; `None` where GitHub does not say.
    pub may_push: Option<bool>,
    /// Its size in KiB, as GitHub last counted it.
    pub size_kib: u64,
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing.
    None,
    /// Read; in a public repository everybody.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

impl GitHub {
    /// The repository.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn repository(&self, repository: &RepoSlug) -> Result<Repository, GitHubError> {
        let call = on(Method::GET, repository, "the settings", "the permission Metadata: read");
        let repo: wire::Repo = self.read(Some(repository), &call).await?;
        let odd =
            |what: &str, value: &str| GitHubError::unexpected(&call, format!("the {what} is `{value}`"));
        Ok(Repository {
            slug: repo.full_name.parse().map_err(|_| odd("name", &repo.full_name))?,
            default_branch: repo
                .default_branch
                .parse()
                .map_err(|_| odd("default branch", &repo.default_branch))?,
            url: repo.html_url,
            archived: repo.archived,
            private: repo.private,
            may_push: repo.permissions.map(|permissions| permissions.push),
            size_kib: repo.size,
        })
    }

    /// What the user may do in the repository. An unknown user may do nothing.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn permission(
        &self,
        repository: &RepoSlug,
        user: &AccountId,
    ) -> Result<Permission, GitHubError> {
        let what = format!("the permission of {user} in the repository");
        let call = on(Method::GET, repository, &what, "push access and the permission Metadata: read").at([
            "collaborators",
            user.as_str(),
            "permission",
        ]);
        match self.read::<wire::UserPermission>(Some(repository), &call).await {
            Ok(answer) => match answer.permission.as_str() {
                "admin" => Ok(Permission::Admin),
                "write" | "maintain" => Ok(Permission::Write),
                "read" | "triage" => Ok(Permission::Read),
                "none" => Ok(Permission::None),
                other => Err(GitHubError::unexpected(&call, format!("the permission is `{other}`"))),
            },
            Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }

    /// The newest commit of a branch; `None` when there is no such branch.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn branch(
        &self,
        repository: &RepoSlug,
        name: &BranchName,
    ) -> Result<Option<CommitId>, GitHubError> {
        let call = on(Method::GET, repository, &format!("the branch {name}"), CONTENTS)
            .at(["branches", name.as_str()]);
        let branch: wire::Branch = match self.read(Some(repository), &call).await {
            Ok(branch) => branch,
            Err(GitHubError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A branch that was renamed answers under its old name too.
        if branch.name != name.as_str() {
            return Ok(None);
        }
        let commit = branch.commit.sha.parse();
        commit
            .map(Some)
            .map_err(|_| GitHubError::unexpected(&call, format!("its commit is `{}`", branch.commit.sha)))
    }

    /// A small text file of the repository; `None` when there is none, or it is a folder, no UTF-8 text or larger than
    /// the 1 MiB that this part of the API gives.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn file(
        &self,
        repository: &RepoSlug,
        path: &str,
        reference: &str,
    ) -> Result<Option<String>, GitHubError> {
        let call = on(Method::GET, repository, &format!("the file {path}"), CONTENTS)
            .at(["contents"])
            .at(path.split('/'))
            .query("ref", reference);
        let content: Value = match self.read(Some(repository), &call).await {
            Ok(content) => content,
            Err(GitHubError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let content: wire::Content = serde_json::from_value(content).unwrap_or_default();
        if content.kind != "file" || content.encoding != "base64" {
            return Ok(None);
        }
        let letters: String = content.content.split_whitespace().collect();
        let bytes =
            STANDARD.decode(letters).map_err(|error| GitHubError::unexpected(&call, error.to_string()))?;
        Ok(String::from_utf8(bytes).ok())
    }
}
