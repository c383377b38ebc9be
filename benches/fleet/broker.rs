//! The private RabbitMQ of this run, and what a peer does on it.

use std::time::Duration;

use anyhow::Context as _;
use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::domain::Task;
use jira_agent::queue::topology::{TASKS_EXCHANGE, TASKS_QUEUE};
use jira_agent::secret::Secret;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

/// The variable that `scripts/lib/rabbitmq` sets.
const ADDRESS: &str = "JIRA_AGENT_TEST_AMQP_URL";
/// How many messages may wait for their confirmation.
const UNCONFIRMED: u32 = 500;

/// Where the broker is.
pub struct Broker {
    url: String,
}

impl Broker {
    /// The broker that `scripts/bench` started.
    pub fn from_environment() -> anyhow::Result<Self> {
        let url = std::env::var(ADDRESS);
        let url =
            url.with_context(|| format!("{ADDRESS} is not set: run `scripts/bench`, which starts a broker"))?;
        Ok(Self { url })
    }

    /// Its address, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Settings of the product for this broker, by default those of `config.default.toml`.
    pub fn config(&self) -> QueueConfig {
        QueueConfig {
            kind: QueueKind::Rabbitmq,
            url: Secret::new(&*self.url),
            path: None,
            retry_delays: [30, 120, 600, 3600].map(Duration::from_secs).into(),
            lease_timeout: Duration::from_mins(1),
            management_url: Secret::default(),
            ca_file: None,
            heartbeat: Duration::from_secs(20),
            timeout: Duration::from_secs(10),
            consumer_timeout: Duration::from_mins(30),
            declare: true,
            adopt: false,
        }
    }

    /// A plain connection.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await;
        connection.context("cannot connect to the broker")
    }

    /// Leaves exactly `count` tasks on the queue.
    pub async fn fill(&self, count: u32) -> anyhow::Result<()> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        channel.queue_purge(TASKS_QUEUE.into(), QueuePurgeOptions::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let task = Task::new("PROJ-1".parse()?);
        let body = task.to_json();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(task.id.to_string().into())
            .with_content_type("application/json".into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let mut left = count;
        while left > 0 {
            let mut confirmations = Vec::new();
            for _ in 0..left.min(UNCONFIRMED) {
                let (exchange, key) = (TASKS_EXCHANGE.into(), TASKS_QUEUE.into());
                let publish = channel.basic_publish(exchange, key, options, &body, properties.clone());
                confirmations.push(publish.await?);
            }
            for confirmation in confirmations {
                let confirmation = confirmation.await?;
                anyhow::ensure!(confirmation == Confirmation::Ack(None), "a task was not taken");
                left -= 1;
            }
        }
        connection.close(200, "OK".into()).await?;
        Ok(())
    }
}
