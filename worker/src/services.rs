//! All that the steps work with. Only `app` makes one.

use anyhow::Context as _;
use jira_agent::config::Config;
use jira_agent::domain::{RepoSlug, Ticket};
use jira_agent::redact::Redactor;
use jira_agent::secret::Secret;

use crate::breaker::Breaker;
use crate::failure::ProviderDown;
use crate::git::Transfers;
use crate::metrics::Metrics;
use crate::model::{Model, ModelError, Reply, Request};
use crate::prompt::PromptInput;
use jira_agent::tickets::Tickets;
use tokio_util::sync::CancellationToken;

/// Clients and settings, shared by all runs of a process.
#[derive(Debug)]
pub struct Services {
    /// The settings.
    pub config: Config,
    /// Jira and GitHub.
    pub tickets: Tickets,
    /// The model.
    pub model: Model,
    /// Fetch and push, in a child process.
    pub transfers: Transfers,
    /// Whether the model's provider may be asked.
    pub breaker: Breaker,
    /// What is counted and timed.
    pub metrics: Metrics,
    /// What must not be seen.
    pub redactor: Redactor,
}

impl Services {
    /// The ticket without anything that must stay secret, for the model.
    #[must_use]
    pub fn redact_ticket(&self, ticket: &Ticket) -> Ticket {
        let redact = |text: &str| self.redactor.redact(text).into_owned();
        let mut ticket = ticket.clone();
        ticket.summary = redact(&ticket.summary);
        ticket.description = redact(&ticket.description);
        for comment in &mut ticket.comments {
            comment.body = redact(&comment.body);
        }
        ticket
    }

    /// What every prompt is made of.
    #[must_use]
    pub fn prompt_input<'run>(&'run self, ticket: &'run Ticket, context: &'run str) -> PromptInput<'run> {
        PromptInput {
            ticket,
            context,
            protected_paths: &self.config.worker.protected_paths,
            max_output_tokens: self.config.model.max_output_tokens,
        }
    }

    /// Asks the model, and tells the breaker how its provider fares.
    ///
    /// # Errors
    /// See [`ModelError`]; [`ProviderDown`] when the provider is taken for down.
    pub async fn ask(&self, request: &Request, cancel: &CancellationToken) -> anyhow::Result<Reply> {
        let error = match self.model.complete(request, cancel).await {
            Ok(reply) => {
                self.breaker.success();
                let cost = self.config.model.prices.as_ref().map(|prices| reply.usage.cost(prices));
                self.metrics.model_replied(&self.config.model.name, &reply.usage, cost);
                return Ok(reply);
            }
            Err(error) => error,
        };
        let down = match &error {
            ModelError::Billing { .. } => {
                self.breaker.exhausted();
                true
            }
            ModelError::Unreachable { .. }
            | ModelError::Unavailable { .. }
            | ModelError::Stalled { .. }
            | ModelError::TimedOut { .. }
            | ModelError::Interrupted { .. } => self.breaker.outage(),
            // Its own fault, or that of whoever asked.
            _ => false,
        };
        if down {
            let wait = self.breaker.wait();
            return Err(ProviderDown { wait, source: error }.into());
        }
        Err(anyhow::Error::new(error).context("asking the model"))
    }

    /// The token git is given for a repository.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn git_token(&self, repository: &RepoSlug) -> anyhow::Result<Option<Secret>> {
        let token = self.tickets.github().token(repository).await.context("getting a token for git")?;
        Ok((!token.is_empty()).then_some(token))
    }
}
