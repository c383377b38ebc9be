//! The two ticket systems behind one door: a ticket's key says which one is asked.

use anyhow::Context as _;

use crate::config::Config;
use crate::domain::{
    AccountId, CancelRequest, CommentMarker, IssueKey, RepoSlug, Ticket, TicketKey, TicketMemory,
};
use crate::github::{GitHub, IssueOutcome};
use crate::http::Http;
use crate::jira::Jira;

/// A key behind which there is no ticket for us. Trying again is useless.
#[derive(Debug, thiserror::Error)]
pub enum NoTicket {
    /// It is a Jira issue and there is no Jira.
    #[error("{0} is a Jira issue, but no Jira is configured; set jira.url, jira.email and jira.token")]
    NoJira(IssueKey),
    /// It is the number of a pull request.
    #[error("{0} is a pull request; a task needs the number of an issue")]
    IsPullRequest(TicketKey),
}

/// Jira, when it is configured, and GitHub.
#[derive(Debug, Clone)]
pub struct Tickets {
    jira: Option<Jira>,
    github: GitHub,
}

/// Where a ticket is.
enum Place<'tickets> {
    Jira(&'tickets Jira, &'tickets IssueKey),
    GitHub(&'tickets GitHub, &'tickets RepoSlug, u64),
}

impl Tickets {
    /// Over these clients.
    #[must_use]
    pub fn new(jira: Option<Jira>, github: GitHub) -> Self {
        Self { jira, github }
    }

    /// By the settings; opens no connection.
    ///
    /// # Errors
    /// When section `[jira]` cannot be used.
    pub fn by(config: &Config, http: &Http) -> anyhow::Result<Self> {
        let jira = match &config.jira.url {
            Some(_) => Some(Jira::new(&config.jira, http.clone()).context("section [jira]")?),
            None => None,
        };
        Ok(Self::new(jira, GitHub::new(&config.github, http.clone())))
    }

    fn place<'tickets>(&'tickets self, key: &'tickets TicketKey) -> anyhow::Result<Place<'tickets>> {
        match (key, &self.jira) {
            (TicketKey::Jira(key), Some(jira)) => Ok(Place::Jira(jira, key)),
            (TicketKey::Jira(key), None) => Err(NoTicket::NoJira(key.clone()).into()),
            (TicketKey::GitHub { repository, number }, _) => {
                Ok(Place::GitHub(&self.github, repository, *number))
            }
        }
    }

    /// Reads the ticket afresh.
    ///
    /// # Errors
    /// When it does not exist, is a pull request, or the service does not answer.
    pub async fn read(&self, key: &TicketKey) -> anyhow::Result<Ticket> {
        let reading = || format!("reading ticket {key}");
        match self.place(key)? {
            Place::Jira(jira, key) => jira.issue(key).await.with_context(reading),
            Place::GitHub(github, repository, number) => {
                match github.issue(repository, number).await.with_context(reading)? {
                    IssueOutcome::Ticket(ticket) => Ok(*ticket),
                    IssueOutcome::IsPullRequest => {
                        let number = TicketKey::GitHub { repository: repository.clone(), number };
                        Err(NoTicket::IsPullRequest(number).into())
                    }
                }
            }
        }
    }

    /// Reads what earlier runs left on the ticket.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn memory(&self, key: &TicketKey) -> anyhow::Result<TicketMemory> {
        let reading = || format!("reading the memory of {key}");
        match self.place(key)? {
            Place::Jira(jira, key) => jira.memory(key).await.with_context(reading),
            Place::GitHub(github, repository, number) => {
                github.memory(repository, number).await.with_context(reading)
            }
        }
    }

    /// Leaves something for later runs on the ticket.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn write_memory(&self, key: &TicketKey, memory: &TicketMemory) -> anyhow::Result<()> {
        let writing = || format!("writing the memory of {key}");
        match self.place(key)? {
            Place::Jira(jira, key) => jira.write_memory(key, memory).await.with_context(writing),
            Place::GitHub(github, repository, number) => {
                github.write_memory(repository, number, memory).await.with_context(writing)
            }
        }
    }

    /// Asks on the ticket for its runs to stop; an earlier request is replaced. Asking twice changes nothing.
    ///
    /// # Errors
    /// When there is no such ticket, or the service does not answer or refuses.
    pub async fn request_cancel(&self, key: &TicketKey, request: &CancelRequest) -> anyhow::Result<()> {
        let writing = || format!("writing the request to cancel on {key}");
        match self.place(key)? {
            Place::Jira(jira, key) => jira.request_cancel(key, request).await.with_context(writing),
            Place::GitHub(github, repository, number) => {
                // A comment would land on a pull request just as well.
                self.read(key).await?;
                github.request_cancel(repository, number, request).await.with_context(writing)
            }
        }
    }

    /// Creates or updates our comment with this marker.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    pub async fn comment(
        &self,
        key: &TicketKey,
        marker: &CommentMarker,
        markdown: &str,
    ) -> anyhow::Result<()> {
        let writing = || format!("commenting on {key}");
        match self.place(key)? {
            Place::Jira(jira, key) => {
                jira.upsert_comment(key, marker, markdown).await.with_context(writing)?;
            }
            Place::GitHub(github, repository, number) => {
                github.upsert_comment(repository, number, marker, markdown).await.with_context(writing)?;
            }
        }
        Ok(())
    }

    /// The account whose assignment is a trigger; `None` when none is configured.
    ///
    /// # Errors
    /// When GitHub does not say who we are.
    pub async fn agent(
        &self,
        key: &TicketKey,
        configured: Option<&AccountId>,
    ) -> anyhow::Result<Option<AccountId>> {
        match self.place(key)? {
            Place::Jira(..) => Ok(configured.cloned()),
            Place::GitHub(github, ..) => github.user().await.map(Some).context("asking GitHub who we are"),
        }
    }

    /// Jira, for what only Jira has.
    #[must_use]
    pub fn jira(&self) -> Option<&Jira> {
        self.jira.as_ref()
    }

    /// GitHub, which also holds the pull requests.
    #[must_use]
    pub fn github(&self) -> &GitHub {
        &self.github
    }
}
