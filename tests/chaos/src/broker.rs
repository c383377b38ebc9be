//! The broker of this run: how workers reach it, and what can be done to it.

mod rabbitmq;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jira_agent::config::{Config, ConfigSources};
use jira_agent::queue::TaskQueue;

use crate::cli::Transport;
use crate::proxy::Proxy;
use rabbitmq::Rabbit;

/// One of the transports.
pub enum Broker {
    /// A virtual host of a RabbitMQ.
    Rabbitmq(Box<Rabbit>),
}

impl Broker {
    /// Prepares this run's part of the broker that the environment names.
    ///
    /// # Errors
    /// When the environment names none, or it does not answer.
    pub async fn start(transport: Transport, _directory: &Path) -> anyhow::Result<Self> {
        match transport {
            Transport::Rabbitmq => Ok(Self::Rabbitmq(Box::new(Rabbit::start().await?))),
            other => anyhow::bail!("transport {} is not driven by this program", other.name()),
        }
    }

    /// The workers' section `[queue]`, without the keys that are the same for all transports.
    pub fn section(&self) -> String {
        match self {
            Self::Rabbitmq(_) => "[queue]\nkind = \"rabbitmq\"".to_owned(),
        }
    }

    /// Where workers reach it: through the proxy. It holds the password.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Rabbitmq(rabbit) => Some(rabbit.worker_url()),
        }
    }

    /// Our own client, past the proxy; the topology exists then.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue(
        &self,
        settings: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Arc<dyn TaskQueue>> {
        let env = environment.iter().cloned().collect();
        let file = Some(settings.to_owned());
        let config = Config::load(ConfigSources { file, env, ..ConfigSources::default() })?.queue;
        match self {
            Self::Rabbitmq(rabbit) => rabbit.queue(config).await,
        }
    }

    /// What stands before it.
    pub fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Rabbitmq(rabbit) => Some(rabbit.proxy()),
        }
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&self) -> anyhow::Result<()> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.restart().await,
        }
    }

    /// Has it close the workers' connections.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.close_connections().await,
        }
    }

    /// Puts a body on the queue as any program could.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn put(&self, body: &str) -> anyhow::Result<()> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.put(body).await,
        }
    }
}

/// A variable that `scripts/chaos` sets.
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set: run `scripts/chaos`, which starts a broker"))
}
