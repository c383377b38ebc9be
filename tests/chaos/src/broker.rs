//! The broker of this run: how workers reach it, and what can be done to it.

mod rabbitmq;
mod redis;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use jira_agent::config::{Config, ConfigSources};
use jira_agent::domain::TaskBody;
use jira_agent::queue::{self, TaskQueue};
use jira_agent::secret::Secret;

use self::rabbitmq::Rabbit;
use self::redis::RedisServer;
use crate::cli::Transport;
use crate::proxy::Proxy;

/// One of the transports.
pub enum Broker {
    /// A virtual host of a RabbitMQ.
    Rabbitmq(Box<Rabbit>),
    /// A Redis.
    Redis(Box<RedisServer>),
    /// A file.
    Sqlite(PathBuf),
}

impl Broker {
    /// Prepares this run's part of the broker that the environment names.
    ///
    /// # Errors
    /// When the environment names none, or it does not answer.
    pub async fn start(transport: Transport, directory: &Path) -> anyhow::Result<Self> {
        Ok(match transport {
            Transport::Rabbitmq => Self::Rabbitmq(Box::new(Rabbit::start().await?)),
            Transport::Redis => Self::Redis(Box::new(RedisServer::start().await?)),
            Transport::Sqlite => Self::Sqlite(directory.join("queue.db")),
        })
    }

    /// The workers' section `[queue]`, without the keys that are the same for all transports.
    pub fn section(&self) -> String {
        match self {
            Self::Rabbitmq(_) => "[queue]\nkind = \"rabbitmq\"".to_owned(),
            Self::Redis(_) => "[queue]\nkind = \"redis\"".to_owned(),
            Self::Sqlite(path) => format!("[queue]\nkind = \"sqlite\"\npath = \"{}\"", path.display()),
        }
    }

    /// Where workers reach it: through the proxy. It holds the password.
    pub fn address(&self) -> Option<&str> {
        match self {
            Self::Rabbitmq(rabbit) => Some(rabbit.worker_url()),
            Self::Redis(redis) => Some(redis.worker_url()),
            Self::Sqlite(_) => None,
        }
    }

    /// Our own client, past the proxy. Every queue exists then.
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
        let mut config = Config::load(ConfigSources { file, env, ..ConfigSources::default() })?.queue;
        match self {
            Self::Rabbitmq(rabbit) => return rabbit.queue(config).await,
            Self::Redis(redis) => config.url = Secret::new(redis.url()),
            Self::Sqlite(_) => {}
        }
        Ok(queue::connect(&config, "chaos").await?)
    }

    /// What stands before it.
    pub fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Rabbitmq(rabbit) => Some(rabbit.proxy()),
            Self::Redis(redis) => Some(redis.proxy()),
            Self::Sqlite(_) => None,
        }
    }

    /// Stops and starts it; a file is nothing that runs.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&self) -> anyhow::Result<()> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.restart().await,
            Self::Redis(redis) => redis.restart().await,
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Kills it (SIGKILL) and starts it, where it can be and has promised to keep what it confirmed.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn kill(&self) -> anyhow::Result<()> {
        match self {
            Self::Redis(redis) => redis.kill().await,
            Self::Rabbitmq(_) | Self::Sqlite(_) => Ok(()),
        }
    }

    /// Has it close the workers' connections, and says how many.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.close_connections().await,
            Self::Redis(redis) => redis.close_connections().await,
            Self::Sqlite(_) => Ok(0),
        }
    }

    /// Puts a body on the queue as any program could. The table of the file is the product's own, so there it is read
    /// and published by `queue`.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub async fn put(&self, queue: &dyn TaskQueue, body: &str) -> anyhow::Result<()> {
        match self {
            Self::Rabbitmq(rabbit) => rabbit.put(body).await,
            Self::Redis(redis) => redis.put(body).await,
            Self::Sqlite(_) => {
                let task = TaskBody::parse(body.as_bytes())?.task;
                Ok(queue.publish(&task).await?)
            }
        }
    }
}

/// A variable that `scripts/chaos` sets.
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set: run `scripts/chaos`, which starts a broker"))
}
