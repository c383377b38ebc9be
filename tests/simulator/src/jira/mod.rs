//! Jira Cloud, REST v3, in memory.
//!
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>

pub mod adf;
mod comments;
mod edit;
mod error;
mod issues;
mod jql;
mod links;
mod model;
mod properties;
mod rate_limit;
mod request;
mod routes;
mod search;
mod seed;
mod snapshot;
mod transitions;
mod users;
mod wire;
mod workflow;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;

pub use self::model::{Change, CommentSeed, IssueSeed, Project, RemoteLink, User};
pub use self::rate_limit::{BURST, PER_ISSUE_WRITES, QUOTA, rate_limited};
pub use self::snapshot::{CommentSnapshot, IssueSnapshot};
pub use self::workflow::{Category, Status, Transition, Workflow};

use self::error::JiraError;
use self::model::State;
use self::wire::Wire;
use crate::problems::Problems;

/// A simulated Jira Cloud site. Clones are the same site.
#[derive(Clone)]
pub struct Jira(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    problems: Problems,
    site: String,
}

impl fmt::Debug for Jira {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Jira").field("site", &self.0.site).finish_non_exhaustive()
    }
}

impl Jira {
    /// The e-mail address of the agent's account unless [`Jira::set_credentials`] says otherwise.
    pub const EMAIL: &str = "agent@example.com";
    /// The API token of the agent's account unless [`Jira::set_credentials`] says otherwise.
    pub const TOKEN: &str = "ATATT3xFfGF0SimulatedJiraToken8c1f5a7e-NotARealSecret";
    /// The agent's account id.
    pub const AGENT: &str = "712020:0a1b2c3d-agent";
    /// The site's cloud id, for the gateway's path.
    pub const CLOUD_ID: &str = "11223344-a1b2-4c3d-9e8f-5566778899aa";

    /// A site whose links start with `site`. It holds the agent's account and nothing else.
    #[must_use]
    pub fn new(problems: Problems, site: &str) -> Self {
        let jira = Self(Arc::new(Inner { state: Mutex::new(State::new()), problems, site: site.to_owned() }));
        let (account_id, name) = (Self::AGENT.to_owned(), "Jira Agent".to_owned());
        jira.add_user(User { account_id, name, email: Self::EMAIL.to_owned(), active: true });
        jira.set_credentials(Self::EMAIL, Self::TOKEN);
        jira
    }

    /// All of its routes.
    pub fn router(&self) -> Router {
        routes::router(self)
    }

    /// The address people open, without a slash at the end.
    #[must_use]
    pub fn site(&self) -> &str {
        &self.0.site
    }

    /// Lets only this pair in, as the agent's account. What was let in before gets 401: a token that expired.
    pub fn set_credentials(&self, email: &str, token: &str) {
        let account_id = Self::AGENT.to_owned();
        let credentials = model::Credentials { email: email.to_owned(), token: token.to_owned(), account_id };
        self.lock().credentials = vec![credentials];
    }

    /// A scoped token: 401 at the site's address, good at the gateway's, `/ex/jira/{cloudId}`.
    pub fn set_scoped_token(&self, scoped: bool) {
        self.lock().settings.scoped_token = scoped;
    }

    /// No transition is offered, as without the permission to transition issues.
    pub fn set_empty_transitions(&self, empty: bool) {
        self.lock().settings.empty_transitions = empty;
    }

    /// The screen of a transition (its name or the name of its target) requires a field, e.g. `resolution`.
    pub fn require_field(&self, transition: &str, field: &str) {
        self.lock().settings.required_fields.insert((transition.to_owned(), field.to_owned()));
    }

    /// Pages of comments and search results hold at most so many, whatever the request asks.
    pub fn set_page_limit(&self, limit: usize) {
        self.lock().settings.page_limit = Some(limit.max(1));
    }

    /// Search goes on with what there is now and sees no later change, but for `reconcileIssues`; or sees all again.
    pub fn set_stale_search(&self, stale: bool) {
        let mut state = self.lock();
        state.stale_index = stale.then(|| state.issues.clone());
    }

    /// Replaces the workflow.
    ///
    /// # Errors
    /// When a transition names a status that there is not.
    pub fn set_workflow(&self, workflow: Workflow) -> anyhow::Result<()> {
        if let Some(problem) = workflow.problem() {
            anyhow::bail!(problem);
        }
        self.lock().workflow = workflow;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire<'a>(&'a self, state: &'a State) -> Wire<'a> {
        Wire { site: &self.0.site, state }
    }

    fn malformed(&self, what: &str, error: JiraError) -> JiraError {
        self.0.problems.report(format!("Jira: {what}: {}", error.reason()));
        error
    }
}
