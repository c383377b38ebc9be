//! Publish: commit, push under a lease, one open pull request.
//!
//! Everything the pull request says is derived from the commit, so an attempt that finds the commit of an earlier
//! one publishes exactly the same.

mod commit;
mod pull;
mod push;

use jira_agent::domain::CommitId;

use crate::products::Content;

pub use commit::{commit_change, commit_plan, found};
pub use pull::pull_request;
pub use push::push;

/// A commit in the trusted git directory, not yet on the server.
#[derive(Debug)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// What it holds.
    pub content: Content,
    /// Whether the agent's branch begins with it.
    pub began_branch: bool,
}

/// A commit on the server.
#[derive(Debug)]
pub struct Pushed(Commit);

impl Pushed {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &CommitId {
        &self.0.id
    }
}
