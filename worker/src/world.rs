//! What the protocol of a run (claim, settle, report) needs of everything around it. The product is one
//! implementation, [`crate::services::Services`]; a model in which anything may die at any moment is another.

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::Config;
use jira_agent::domain::{AccountId, CommentMarker, Outcome, TaskId, Ticket, TicketKey, TicketMemory};
use jira_agent::redact::Redactor;
use jira_agent::tickets::Tickets;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::metrics::Metrics;
use crate::products::Claimed;
use crate::run_log::RunLog;

/// Everything around the protocol.
#[async_trait]
pub trait World: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The settings.
    fn config(&self) -> &Config;

    /// What must not be seen.
    fn redactor(&self) -> &Redactor;

    /// The tickets.
    fn tickets(&self) -> &dyn TicketStore;

    /// What is counted and timed.
    fn metrics(&self) -> &Metrics;

    /// Whether the model's provider may be asked.
    fn breaker(&self) -> &Breaker;

    /// Everything between the claim and the marker: from the repository to what the ticket holds. Dropping the future
    /// stops it between two effects; done again, it finds what is there already.
    ///
    /// # Errors
    /// Whatever a step could not do.
    async fn work(
        &self,
        claimed: &Claimed,
        log: &mut RunLog,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Outcome>;

    /// Leaves word of the step that a run has come to, for whoever finds the run dead.
    fn note_step(&self, run: TaskId, step: &'static str);

    /// Takes that word away: the attempt has not died.
    fn forget_step(&self, run: TaskId);

    /// The step at which a worker on this machine died over the run, where that is known.
    fn last_step(&self, run: TaskId) -> Option<String>;
}

/// The tickets, as far as the protocol needs them.
#[async_trait]
pub trait TicketStore: Send + Sync {
    /// Reads the ticket afresh.
    ///
    /// # Errors
    /// When it does not exist, is a pull request, or the service does not answer.
    async fn read(&self, key: &TicketKey) -> anyhow::Result<Ticket>;

    /// Reads what earlier runs left on the ticket.
    ///
    /// # Errors
    /// When the service does not answer.
    async fn memory(&self, key: &TicketKey) -> anyhow::Result<TicketMemory>;

    /// Leaves something for later runs on the ticket.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    async fn write_memory(&self, key: &TicketKey, memory: &TicketMemory) -> anyhow::Result<()>;

    /// Creates or updates our comment with this marker.
    ///
    /// # Errors
    /// When the service does not answer or refuses.
    async fn comment(&self, key: &TicketKey, marker: &CommentMarker, markdown: &str) -> anyhow::Result<()>;

    /// The account whose assignment is a trigger; `None` when none is configured.
    ///
    /// # Errors
    /// When the service does not say who we are.
    async fn agent(
        &self,
        key: &TicketKey,
        configured: Option<&AccountId>,
    ) -> anyhow::Result<Option<AccountId>>;
}

#[async_trait]
impl TicketStore for Tickets {
    async fn read(&self, key: &TicketKey) -> anyhow::Result<Ticket> {
        Self::read(self, key).await
    }

    async fn memory(&self, key: &TicketKey) -> anyhow::Result<TicketMemory> {
        Self::memory(self, key).await
    }

    async fn write_memory(&self, key: &TicketKey, memory: &TicketMemory) -> anyhow::Result<()> {
        Self::write_memory(self, key, memory).await
    }

    async fn comment(&self, key: &TicketKey, marker: &CommentMarker, markdown: &str) -> anyhow::Result<()> {
        Self::comment(self, key, marker, markdown).await
    }

    async fn agent(
        &self,
        key: &TicketKey,
        configured: Option<&AccountId>,
    ) -> anyhow::Result<Option<AccountId>> {
        Self::agent(self, key, configured).await
    }
}
