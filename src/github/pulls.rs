//! Pull requests: found by their branch, opened once, changed only when they differ.

use reqwest::Method;
use serde_json::json;

use super::call::on;
use super::comments::{bounded, unix};
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, BranchName, CommitId, RepoSlug};
use crate::rest::Call;
use crate::retry::Waits;

/// How often opening is tried when an answer is lost or GitHub does not know the branch yet.
const ROUNDS: usize = 4;

const READ: &str = "the permission Pull requests: read";
const WRITE: &str = "the permission Pull requests: write";

/// What became of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullState {
    /// It waits.
    Open,
    /// It was closed without being merged.
    Closed,
    /// It was merged.
    Merged,
}

/// A pull request as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// The title.
    pub title: String,
    /// The text; empty when there is none.
    pub body: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// What became of it.
    pub state: PullState,
    /// The branch with the changes.
    pub head: BranchName,
    /// The newest commit of that branch.
    pub head_commit: CommitId,
    /// The branch they are for.
    pub base: BranchName,
    /// Who opened it; `None` for an account that is gone.
    pub author: Option<AccountId>,
    /// Its labels.
    pub labels: Vec<String>,
}

/// A pull request to open.
#[derive(Debug, Clone)]
pub struct NewPull {
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// The branch with the changes, in the same repository.
    pub head: BranchName,
    /// The branch they are for.
    pub base: BranchName,
    /// Whether it should be a draft.
    pub draft: bool,
}

/// How there came to be a pull request. Whether it is a draft says the pull request itself: not every plan has drafts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullOutcome {
    /// It was opened now.
    Opened(PullRequest),
    /// There was one for the branch; it is unchanged.
    Found(PullRequest),
}

impl PullOutcome {
    /// The pull request.
    #[must_use]
    pub fn pull(&self) -> &PullRequest {
        match self {
            Self::Opened(pull) | Self::Found(pull) => pull,
        }
    }
}

impl GitHub {
    /// The open pull request of the branch, of several the oldest.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn find_pull(
        &self,
        repository: &RepoSlug,
        head: &BranchName,
        base: Option<&BranchName>,
    ) -> Result<Option<PullRequest>, GitHubError> {
        let mut call = list(repository, head).query("state", "open");
        if let Some(base) = base {
            call = call.query("base", base);
        }
        let pulls = self.pulls(repository, &call, head).await?;
        let fits =
            |pull: &PullRequest| pull.state == PullState::Open && base.is_none_or(|base| pull.base == *base);
        Ok(pulls.into_iter().filter(fits).min_by_key(|pull| pull.number))
    }

    /// The newest pull request of the branch, whatever became of it.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn latest_pull(
        &self,
        repository: &RepoSlug,
        head: &BranchName,
    ) -> Result<Option<PullRequest>, GitHubError> {
        let call =
            list(repository, head).query("state", "all").query("sort", "created").query("direction", "desc");
        let pulls = self.pulls(repository, &call, head).await?;
        Ok(pulls.into_iter().max_by_key(|pull| pull.number))
    }

    /// The pull request with this number.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn pull(&self, repository: &RepoSlug, number: u64) -> Result<PullRequest, GitHubError> {
        let call = one(Method::GET, repository, number, READ);
        let pull: wire::Pull = self.read(Some(repository), &call).await?;
        pull_request(&call, pull)
    }

    /// Opens a pull request, unless the branch has an open one. Where drafts are not to be had it is none.
    ///
    /// # Errors
    /// See [`GitHubError`]; [`GitHubError::Invalid`] e.g. when the branch has no commits of its own.
    pub async fn open_pull(&self, repository: &RepoSlug, new: &NewPull) -> Result<PullOutcome, GitHubError> {
        if let Some(pull) = self.find_pull(repository, &new.head, None).await? {
            return Ok(PullOutcome::Found(pull));
        }
        let mut draft = new.draft;
        let mut waits = Waits::new(self.inner.http.policy());
        let mut rounds = 1;
        loop {
            let error = match self.create_pull(repository, new, draft).await {
                Ok(pull) => return Ok(PullOutcome::Opened(pull)),
                Err(error) => error,
            };
            let GitHubError::Invalid { message, fields, .. } = &error else {
                if !error.is_ambiguous() {
                    return Err(error);
                }
                if let Some(pull) = self.find_pull(repository, &new.head, None).await? {
                    return Ok(PullOutcome::Opened(pull));
                }
                if rounds == ROUNDS {
                    return Err(error);
                }
                rounds += 1;
                continue;
            };
            if let Some(pull) = self.find_pull(repository, &new.head, None).await? {
                return Ok(PullOutcome::Found(pull));
            }
            // The API has no code for a plan without drafts, only these words.
            if draft && message.to_ascii_lowercase().contains("draft pull requests") {
                tracing::info!(repo = %repository, "the repository has no draft pull requests; opening a plain one");
                draft = false;
                continue;
            }
            // A branch is sometimes not known for some seconds after its push.
            let unknown_head = fields.iter().any(|field| field.starts_with("head"));
            if !unknown_head || rounds == ROUNDS || self.branch(repository, &new.head).await?.is_none() {
                return Err(error);
            }
            rounds += 1;
            // Cancel-safe: both branches only wait.
            tokio::select! {
                () = tokio::time::sleep(waits.next_wait()) => {}
                () = self.inner.http.cancel().cancelled() => return Err(error),
            }
        }
    }

    async fn create_pull(
        &self,
        repository: &RepoSlug,
        new: &NewPull,
        draft: bool,
    ) -> Result<PullRequest, GitHubError> {
        let call = on(Method::POST, repository, "a new pull request", WRITE).at(["pulls"]).json(json!({
            "title": new.title,
            "body": bounded(&new.body),
            "head": new.head,
            "base": new.base,
            "draft": draft,
        }));
        let pull: wire::Pull = self.read(Some(repository), &call).await?;
        pull_request(&call, pull)
    }

    /// Gives the pull request this title and text, if it has others; says how it is then.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn update_pull(
        &self,
        repository: &RepoSlug,
        number: u64,
        title: &str,
        body: &str,
    ) -> Result<PullRequest, GitHubError> {
        let body = bounded(body);
        let pull = self.pull(repository, number).await?;
        if pull.title == title && pull.body.trim_end() == unix(&body).trim_end() {
            return Ok(pull);
        }
        let call = one(Method::PATCH, repository, number, WRITE)
            .json(json!({"title": title, "body": body}))
            .repeatable();
        let pull: wire::Pull = self.read(Some(repository), &call).await?;
        pull_request(&call, pull)
    }

    /// The pull requests of a list whose branch is this one, in this repository and not in a fork.
    async fn pulls(
        &self,
        repository: &RepoSlug,
        call: &Call,
        head: &BranchName,
    ) -> Result<Vec<PullRequest>, GitHubError> {
        let pulls: Vec<wire::Pull> = self.pages(repository, call).await?;
        let name = |end: &wire::End| end.repo.as_ref().map(|repo| repo.full_name.to_lowercase());
        let own = |pull: &wire::Pull| match (name(&pull.head), name(&pull.base)) {
            (Some(head), Some(base)) => head == base,
            _ => true,
        };
        pulls
            .into_iter()
            .filter(|pull| pull.head.branch == head.as_str() && own(pull))
            .map(|pull| pull_request(call, pull))
            .collect()
    }
}

fn list(repository: &RepoSlug, head: &BranchName) -> Call {
    on(Method::GET, repository, &format!("the pull requests from {head}"), READ)
        .at(["pulls"])
        .query("head", format!("{}:{head}", repository.owner()))
}

fn one(method: Method, repository: &RepoSlug, number: u64, grant: &'static str) -> Call {
    on(method, repository, &format!("pull request #{number}"), grant)
        .at(["pulls".to_owned(), number.to_string()])
}

pub(super) fn pull_request(call: &Call, pull: wire::Pull) -> Result<PullRequest, GitHubError> {
    let odd = |what: &str, value: &str| GitHubError::unexpected(call, format!("its {what} is `{value}`"));
    let branch = |name: &str| name.parse().map_err(|_| odd("branch", name));
    if pull.number == 0 {
        return Err(odd("number", "0"));
    }
    Ok(PullRequest {
        number: pull.number,
        url: pull.html_url,
        title: pull.title,
        body: unix(&pull.body),
        draft: pull.draft,
        state: match (pull.merged_at, pull.state.as_str()) {
            (Some(_), _) => PullState::Merged,
            (None, "closed") => PullState::Closed,
            (None, _) => PullState::Open,
        },
        head: branch(&pull.head.branch)?,
        head_commit: pull.head.sha.parse().map_err(|_| odd("head commit", &pull.head.sha))?,
        base: branch(&pull.base.branch)?,
        author: pull.user.as_ref().and_then(wire::User::account),
        labels: pull.labels.into_iter().map(wire::Label::into_name).collect(),
    })
}
