//! GitHub in memory: the REST calls that the product makes, and real repositories over git's smart HTTP protocol.
//!
//! The shape is that of GitHub Enterprise Server, so that one base address serves everything: REST below `/api/v3`, GraphQL at
//! `/api/graphql`, git at `/{owner}/{repository}.git`. Answers follow the public description at <https://docs.github.com/rest>.

pub mod answers;
mod call;
mod comments;
mod contents;
mod gate;
mod git;
mod git_read;
mod git_routes;
mod graphql;
mod inspect;
mod issues;
mod labels;
mod paging;
mod people;
mod pulls;
mod render;
mod render_commit;
mod render_pull;
mod repositories;
mod reviewers;
mod routes;
mod seed;
mod state;
mod switches;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use inspect::{
    CommentSnapshot, CommitSnapshot, FetchRecord, IssueSnapshot, PullSnapshot, PushRecord, RepositorySnapshot,
};
pub use seed::IssueSeed;
pub use state::Permission;

use crate::problems::Problems;
use state::Store;

/// The simulated GitHub. Clones share one state.
#[derive(Clone)]
pub struct GitHub(Arc<Inner>);

struct Inner {
    problems: Problems,
    store: Mutex<Store>,
}

impl GitHub {
    /// A GitHub without users, tokens or repositories. What no test expected is reported to `problems`.
    #[must_use]
    pub fn new(problems: Problems) -> Self {
        Self(Arc::new(Inner { problems, store: Mutex::default() }))
    }

    /// The routes of REST, GraphQL and git.
    pub fn router(&self) -> axum::Router {
        routes::router(self.clone())
    }

    fn problems(&self) -> &Problems {
        &self.0.problems
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
