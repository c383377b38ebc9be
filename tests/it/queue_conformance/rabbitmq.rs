//! The stage on a real RabbitMQ: a virtual host of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::{TaskQueue, connect};
use lapin::BasicProperties;
use lapin::options::QueueDeleteOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::stage::{Cannot, Shown, Stage, Transport};
use super::*;
use crate::broker::Broker;

behaviours!(tests_on, RabbitStage);

const HELD: Cannot =
    Cannot("AMQP counts what is ready; what workers hold is told by the management API alone");

pub struct RabbitStage(Broker);

impl Transport for RabbitStage {
    const NAME: &'static str = "rabbitmq";
    const CANNOT: &'static [(&'static str, Cannot)] = &[("the_backlog_counts_what_workers_hold", HELD)];

    async fn open(alone: bool) -> Self {
        let broker = if alone { Broker::alone().await } else { Broker::shared().await };
        let stage = Self(broker);
        let queue = RabbitMq::connect(&stage.settings(), "stage").await.unwrap();
        queue.apply_topology().await.unwrap();
        stage
    }
}

impl RabbitStage {
    fn settings(&self) -> QueueConfig {
        holder::settings(QueueKind::Rabbitmq, self.0.url().as_str(), None)
    }
}

#[async_trait]
impl Stage for RabbitStage {
    async fn client(&self) -> Arc<dyn TaskQueue> {
        connect(&self.settings(), "test").await.unwrap()
    }

    fn address(&self) -> Result<QueueConfig, Cannot> {
        Ok(self.settings())
    }

    fn lease_timeout(&self) -> Duration {
        Duration::from_millis(500)
    }

    /// A killed process is known by its closed sockets at once, a frozen one by about three heartbeats of 1 s.
    fn known_dead_within(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn put(&self, body: &[u8]) {
        self.0.publish(body, BasicProperties::default()).await;
    }

    async fn put_traced(&self, body: &[u8], first_published: Timestamp, traceparent: &str) -> Shown {
        let seconds = u64::try_from(first_published.as_second()).unwrap();
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
        let properties = BasicProperties::default().with_timestamp(seconds).with_headers(headers);
        self.0.publish(body, properties).await;
        Ok(())
    }

    fn knows_what_is_held(&self) -> Shown {
        Err(HELD)
    }

    async fn remove(&self) -> Shown {
        let (_connection, channel) = self.0.channel().await;
        channel.queue_delete("agent-tasks".into(), QueueDeleteOptions::default()).await.unwrap();
        Ok(())
    }

    async fn nowhere(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        let url = format!("amqp://nobody@{}/x", nobody_listens().await);
        Ok(connect(&holder::settings(QueueKind::Rabbitmq, &url, None), "test").await.unwrap())
    }

    async fn restart(&self) -> Shown {
        self.0.control("restart").await;
        Ok(())
    }
}
