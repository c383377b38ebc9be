//! Tasks on RabbitMQ, 3.10 or newer, by AMQP 0-9-1.
//!
//! One connection publishes; every consumer, every lease without a delivery and every follower of events has its own.
//! None recovers by itself: a lost connection ends what was held through it, and the owner starts over.
//!
//! A queue `agent-tasks` that somebody else has declared can be used as it is (`queue.adopt`). On a classic queue the broker
//! does not count returns: there `delivery_count` is 1 at most, so that a task which kills its workers is not noticed.

mod connection;
mod consume;
mod control;
mod dead;
mod declare;
mod events;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod lease;
pub mod management;
mod message;
mod publish;
mod returns;
mod settle;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;

use self::connection::Settings;
use self::consume::Shared;
use self::declare::Wanted;
use self::management::Management;
use self::message::{first_headers, properties};
use self::publish::Publisher;
use self::returns::Returns;
use super::tiers::Tiers;
use super::topology::{
    Adopted, DEAD_LETTER_QUEUE, TASKS_QUEUE, TopologyProblem, TopologyReport, retry_queue,
};
use super::{
    Backlog, Consumer, DeadLetter, EventStream, LeaseKey, LeaseOutcome, OrderStream, QueueError, TaskQueue,
};
use crate::config::QueueConfig;
use crate::domain::{Event, Order, Task, TaskId};
use crate::http::Http;
use crate::secret::Secret;

/// The queue on a RabbitMQ broker.
pub struct RabbitMq {
    settings: Arc<Settings>,
    shared: Shared,
    consumer_timeout: Duration,
    declare: bool,
    adopt: bool,
    management_url: Secret,
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq").field("host", &self.settings.host()).finish_non_exhaustive()
    }
}

impl RabbitMq {
    /// Reads the settings. Connections are opened when they are needed, so that a program can start before its
    /// broker; `connection_name` is what the broker's pages show.
    ///
    /// # Errors
    /// When the address or the certificate file cannot be used.
    pub async fn connect(config: &QueueConfig, connection_name: &str) -> Result<Self, QueueError> {
        let settings = Arc::new(Settings::read(config, connection_name).await?);
        let shared = Shared {
            publisher: Arc::new(Publisher::new(settings.clone())),
            tiers: Tiers::new(&config.retry_delays),
            returns: Arc::new(Returns::new()),
        };
        Ok(Self {
            settings,
            shared,
            consumer_timeout: config.consumer_timeout,
            declare: config.declare,
            adopt: config.adopt,
            management_url: config.management_url.clone(),
        })
    }

    /// Declares exchanges, queues and bindings. What is there already stays as it is; an `agent-tasks` that differs is used
    /// nevertheless when `queue.adopt` says so.
    ///
    /// # Errors
    /// When something exists with other arguments, named with the argument; or when the broker cannot be reached.
    pub async fn apply_topology(&self) -> Result<TopologyReport, QueueError> {
        declare::apply(&self.settings.open("topology").await?, &self.wanted()).await
    }

    /// Looks whether exchanges and queues are as they should be, and creates nothing.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn check_topology(&self) -> Result<Vec<TopologyProblem>, QueueError> {
        declare::check(&self.settings.open("topology").await?, &self.wanted()).await
    }

    /// In what the `agent-tasks` that `queue.adopt` accepts is not as ours would be; `None` when it does not differ, is
    /// missing, or cannot be adopted.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn adopted(&self) -> Result<Option<Adopted>, QueueError> {
        declare::adopted(&self.settings.open("topology").await?, &self.wanted()).await
    }

    fn wanted(&self) -> Wanted {
        Wanted { tiers: self.shared.tiers.clone(), adopt: self.adopt }
    }

    /// How many messages are ready in each queue of the topology; what workers hold is not counted.
    ///
    /// # Errors
    /// When a queue is missing or the broker cannot be reached.
    pub async fn depths(&self) -> Result<BTreeMap<String, u32>, QueueError> {
        declare::depths(&self.settings.open("topology").await?, &self.shared.tiers).await
    }
}

#[async_trait]
impl TaskQueue for RabbitMq {
    async fn publish(&self, task: &Task) -> Result<(), QueueError> {
        let properties = properties(Some(&task.id.to_string()), first_headers());
        self.shared.publisher.publish(settle::to_workers(&task.to_json(), properties)).await
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        let link = self.settings.open("consuming").await?;
        if self.declare {
            declare::apply(&link, &self.wanted()).await?;
        }
        let consumer = consume::subscribe(link, self.shared.clone(), self.consumer_timeout);
        Ok(Box::new(consumer.await?))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        events::emit(&self.shared.publisher, event).await
    }

    async fn follow(&self, runs: &[TaskId]) -> Result<EventStream, QueueError> {
        events::follow(self.settings.open("following").await?, runs).await
    }

    async fn order(&self, order: &Order) -> Result<(), QueueError> {
        control::order(&self.shared.publisher, order).await
    }

    async fn orders(&self) -> Result<OrderStream, QueueError> {
        control::orders(self.settings.open("orders").await?).await
    }

    async fn backlog(&self) -> Result<Backlog, QueueError> {
        let depths = self.depths().await?;
        let of = |name: &str| u64::from(depths.get(name).copied().unwrap_or_default());
        let delayed = self.shared.tiers.iter().map(|delay| of(&retry_queue(delay))).sum();
        Ok(Backlog { ready: of(TASKS_QUEUE), held: None, delayed, dead: of(DEAD_LETTER_QUEUE) })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        dead::list(&self.settings.open("dead letters").await?, limit).await
    }

    async fn replay(&self, letter: &str, by: &str) -> Result<bool, QueueError> {
        dead::replay(&self.settings.open("dead letters").await?, &self.shared.publisher, letter, by).await
    }

    async fn discard(&self, letter: &str) -> Result<bool, QueueError> {
        dead::discard(&self.settings.open("dead letters").await?, letter).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        let link = Arc::new(self.settings.open("lease").await?);
        lease::take(&link, key).await
    }

    async fn preflight(&self, http: &Http, run: Duration) -> Result<Vec<String>, QueueError> {
        let wanted = self.consumer_timeout;
        let asked = match Management::new(http, &self.management_url, self.settings.vhost()) {
            Some(management) => {
                let ask = tokio::time::timeout(self.settings.timeout, management.consumer_timeout(wanted));
                Some(ask.await.unwrap_or_else(|_| Err(anyhow!("it did not answer in time"))))
            }
            None => None,
        };
        management::preflight(asked, wanted, run)
    }

    async fn close(&self) {
        self.shared.publisher.close().await;
    }
}
