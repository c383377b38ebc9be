//! What an error means for its task: the one place where that is decided.

use std::time::Duration;

use jira_agent::github::GitHubError;
use jira_agent::http::HttpError;
use jira_agent::jira::JiraError;
use jira_agent::queue::QueueError;
use jira_agent::tickets::NoTicket;

use crate::git::{CommitError, GitError, ObjectError};
use crate::model::ModelError;

/// What happens to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It waits and comes again; `counts` says whether this was a failed attempt.
    Retry {
        /// Not before this long; `None`: by the number of the attempt.
        after: Option<Duration>,
        /// Whether the attempt is used up.
        counts: bool,
    },
    /// Trying again is useless: dead-letter it and tell the ticket.
    DeadLetter,
}

impl Disposition {
    const LATER: Self = Self::Retry { after: None, counts: true };

    fn limited(after: Duration) -> Self {
        Self::Retry { after: Some(after), counts: false }
    }
}

/// An error for which trying again is useless, with what a person can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Permanent(pub String);

/// An error that passes by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Transient(pub String);

/// Decides over the first typed error in the chain. An error of no known type is taken for passing: its attempts
/// are counted, so it ends all the same.
#[must_use]
pub fn classify(error: &anyhow::Error) -> Disposition {
    for cause in error.chain() {
        if cause.is::<Permanent>() || cause.is::<NoTicket>() {
            return Disposition::DeadLetter;
        }
        if cause.is::<Transient>() || cause.is::<QueueError>() {
            return Disposition::LATER;
        }
        if let Some(error) = cause.downcast_ref::<CommitError>() {
            // What git refuses stays refused; what the disk refuses does not.
            return match error {
                CommitError::Object(_) => Disposition::LATER,
                _ => Disposition::DeadLetter,
            };
        }
        if let Some(error) = cause.downcast_ref::<ObjectError>() {
            return match error {
                ObjectError::TooLarge { .. } => Disposition::DeadLetter,
                _ => Disposition::LATER,
            };
        }
        let passing = |after: Option<Duration>, transient: bool| match after {
            Some(after) => Disposition::limited(after),
            None if transient => Disposition::LATER,
            None => Disposition::DeadLetter,
        };
        if let Some(error) = cause.downcast_ref::<JiraError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<GitHubError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<ModelError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<GitError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            return passing(None, error.is_transient());
        }
    }
    Disposition::LATER
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use reqwest::StatusCode;

    use super::*;

    fn of(error: impl std::error::Error + Send + Sync + 'static) -> Disposition {
        classify(&Err::<(), _>(error).context("step claim").context("outer").unwrap_err())
    }

    #[test]
    fn a_rate_limit_waits_without_using_an_attempt() {
        let limited = HttpError::RateLimited { host: "h".to_owned(), retry_after: Duration::from_secs(90) };
        let later = Disposition::Retry { after: Some(Duration::from_secs(90)), counts: false };
        assert_eq!(of(JiraError::Http(limited)), later);
        let git = GitError::RateLimited { host: "h".to_owned(), retry_after: Some(Duration::from_secs(90)) };
        assert_eq!(of(git), later);
    }

    #[test]
    fn what_passes_is_tried_again_and_counted() {
        let status = |code: u16| HttpError::Status {
            host: "h".to_owned(),
            status: StatusCode::from_u16(code).unwrap(),
            body: String::new(),
        };
        assert_eq!(of(GitHubError::Http(status(502))), Disposition::LATER);
        assert_eq!(of(QueueError::Unreachable(String::new())), Disposition::LATER);
        assert_eq!(
            of(GitError::Unreachable { host: "h".to_owned(), detail: String::new() }),
            Disposition::LATER
        );
        assert_eq!(classify(&anyhow::anyhow!("nobody knows")), Disposition::LATER);
        assert_eq!(of(Permanent("no".to_owned())), Disposition::DeadLetter);
        assert_eq!(of(GitError::NotFound { url: "u".to_owned() }), Disposition::DeadLetter);
    }
}
