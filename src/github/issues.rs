//! A GitHub issue as a ticket, and its labels.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use super::call::on;
use super::comments::{by, unix};
use super::memory::memory;
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, Comment, CommentMarker, RepoSlug, Ticket, TicketKey};

/// What a number of a repository is.
#[derive(Debug, Clone)]
pub enum IssueOutcome {
    /// An issue.
    Ticket(Box<Ticket>),
    /// A pull request, which shares its numbers with issues.
    IsPullRequest,
}

impl GitHub {
    /// The issue with all comments of people: those that the product wrote are left out.
    ///
    /// # Errors
    /// See [`GitHubError`]; [`GitHubError::NotFound`] also when the issue was transferred away.
    pub async fn issue(&self, repository: &RepoSlug, number: u64) -> Result<IssueOutcome, GitHubError> {
        let call = on(Method::GET, repository, &format!("issue #{number}"), "the permission Issues: read")
            .at(["issues".to_owned(), number.to_string()]);
        let issue: wire::Issue = self.read(Some(repository), &call).await?;
        if !issue.pull_request.is_null() {
            return Ok(IssueOutcome::IsPullRequest);
        }
        if issue.number != number {
            return Err(GitHubError::NotFound {
                what: format!("{} (it seems to have moved to {})", call.what, issue.html_url),
            });
        }
        let updated_at = issue.updated_at.parse();
        let updated_at: Timestamp = updated_at.map_err(|_| {
            GitHubError::unexpected(&call, format!("its updated_at is `{}`", issue.updated_at))
        })?;
        let login = self.user().await?;
        let comments = self.comments(repository, number).await?;
        let memory = memory(&comments, &login);
        let own_comments = comments.iter().filter(|comment| by(comment, &login)).filter_map(marker).collect();
        let people = comments.iter().filter(|comment| !is_ours(comment, &login));
        let key = TicketKey::GitHub { repository: repository.clone(), number };
        Ok(IssueOutcome::Ticket(Box::new(Ticket {
            key,
            url: issue.html_url,
            summary: issue.title,
            description: unix(&issue.body),
            status: issue.state,
            labels: issue.labels.into_iter().map(wire::Label::into_name).collect(),
            components: Vec::new(),
            assignees: issue.assignees.iter().filter_map(wire::User::account).collect(),
            reporter: issue.user.as_ref().and_then(wire::User::account),
            kind: issue.kind.map(|kind| kind.name).unwrap_or_default(),
            comments: people.filter_map(comment).collect(),
            updated_at,
            own_comments,
            memory,
        })))
    }

    /// Adds labels to an issue or a pull request; GitHub creates those that the repository does not have.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn add_labels(
        &self,
        repository: &RepoSlug,
        number: u64,
        labels: &[&str],
    ) -> Result<(), GitHubError> {
        if labels.is_empty() {
            return Ok(());
        }
        let call =
            on(Method::POST, repository, &format!("the labels of #{number}"), "the permission Issues: write")
                .at(["issues", &number.to_string(), "labels"])
                .json(json!({"labels": labels}))
                .repeatable();
        self.send(Some(repository), &call).await.map(|_| ())
    }

    /// Removes a label from an issue or a pull request; one that is not there is no error.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn remove_label(
        &self,
        repository: &RepoSlug,
        number: u64,
        label: &str,
    ) -> Result<(), GitHubError> {
        let what = format!("the label {label} of #{number}");
        let call = on(Method::DELETE, repository, &what, "the permission Issues: write").at([
            "issues",
            &number.to_string(),
            "labels",
            label,
        ]);
        match self.send(Some(repository), &call).await {
            Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether the product wrote it: by our login and with a marker. The login alone may be a person's, who uses their
/// own token.
pub(super) fn is_ours(comment: &wire::Comment, login: &AccountId) -> bool {
    by(comment, login) && comment.body.trim_start().starts_with("<!-- jira-agent:")
}

/// What the first line of a comment says of it.
fn marker(comment: &wire::Comment) -> Option<CommentMarker> {
    let line = comment.body.lines().next()?.trim();
    CommentMarker::from_key(line.strip_prefix("<!-- jira-agent:")?.strip_suffix(" -->")?)
}

/// `None` for a comment without a readable time, which GitHub does not send.
pub(super) fn comment(comment: &wire::Comment) -> Option<Comment> {
    let created_at = comment.created_at.parse().ok()?;
    let author = comment.user.as_ref().and_then(wire::User::account);
    Some(Comment {
        id: comment.id.to_string(),
        author_name: author.as_ref().map_or("ghost", AccountId::as_str).to_owned(),
        author,
        body: unix(&comment.body),
        created_at,
        updated_at: comment.updated_at.parse().unwrap_or(created_at),
    })
}
