//! Asking people to review.

use reqwest::Method;
use serde_json::json;

use super::call::on;
use super::{GitHub, GitHubError};
use crate::domain::RepoSlug;

/// Who was asked for a review, and whom GitHub does not let ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReviewersOutcome {
    /// Logins and team slugs that were asked.
    pub requested: Vec<String>,
    /// Logins and team slugs that cannot review here: no access, unknown, or the author.
    pub refused: Vec<String>,
}

impl GitHub {
    /// Asks users (logins) and teams (slugs) for a review. GitHub refuses all when one cannot review, so then they are
    /// asked one by one.
    ///
    /// # Errors
    /// See [`GitHubError`]; somebody who cannot review is no error.
    pub async fn request_reviewers(
        &self,
        repository: &RepoSlug,
        number: u64,
        users: &[String],
        teams: &[String],
    ) -> Result<ReviewersOutcome, GitHubError> {
        let mut outcome = ReviewersOutcome::default();
        let all: Vec<String> = users.iter().chain(teams).cloned().collect();
        if all.is_empty() {
            return Ok(outcome);
        }
        if self.ask(repository, number, users, teams).await? {
            outcome.requested = all;
            return Ok(outcome);
        }
        if all.len() == 1 {
            outcome.refused = all;
            return Ok(outcome);
        }
        for (index, name) in all.into_iter().enumerate() {
            let one = std::slice::from_ref(&name);
            let asked = if index < users.len() {
                self.ask(repository, number, one, &[]).await?
            } else {
                self.ask(repository, number, &[], one).await?
            };
            let list = if asked { &mut outcome.requested } else { &mut outcome.refused };
            list.push(name);
        }
        Ok(outcome)
    }

    async fn ask(
        &self,
        repository: &RepoSlug,
        number: u64,
        users: &[String],
        teams: &[String],
    ) -> Result<bool, GitHubError> {
        let what = format!("the reviewers of #{number}");
        let call = on(Method::POST, repository, &what, "the permission Pull requests: write")
            .at(["pulls", &number.to_string(), "requested_reviewers"])
            .json(json!({"reviewers": users, "team_reviewers": teams}))
            .repeatable();
        match self.send(Some(repository), &call).await {
            Ok(_) => Ok(true),
            Err(GitHubError::Invalid { message, .. }) => {
                tracing::info!(repo = %repository, pull = number, message, "a review request was refused");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
