//! Settling a delivery: a confirmed publish to where the task goes, then the ack of the original. A crash between the
//! two leaves the task twice, never not at all; every effect of a run is find-or-create.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::Acker;
use lapin::options::BasicAckOptions;
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;

use super::consume::Subscription;
use super::lease;
use super::message::{dead_headers, normalised_headers, onward_headers, properties};
use super::publish::Message;
use crate::domain::Task;
use crate::queue::topology::{
    DEAD_LETTER_EXCHANGE, DEAD_LETTER_QUEUE, RETRY_EXCHANGE, TASKS_EXCHANGE, TASKS_QUEUE, retry_queue,
};
use crate::queue::{
    Counters, Death, DeliveryInfo, LeaseKey, LeaseOutcome, QueueError, Retry, Settle, Settled,
};

/// The broker's side of one delivery.
pub(super) struct RabbitSettle {
    subscription: Arc<Subscription>,
    /// Taken when the delivery is settled.
    acker: Option<Acker>,
    headers: FieldTable,
}

impl RabbitSettle {
    pub(super) fn new(subscription: Arc<Subscription>, acker: Acker, headers: FieldTable) -> Self {
        Self { subscription, acker: Some(acker), headers }
    }

    /// Publishes the task on, then acks. A task that the broker has taken back already is not published: it would be
    /// there twice.
    async fn move_on(&mut self, message: Message<'_>) -> Result<Settled, QueueError> {
        if self.subscription.lost.is_cancelled() || !self.acker.as_ref().is_some_and(Acker::usable) {
            self.acker = None;
            return Ok(Settled::WillBeRedelivered);
        }
        self.subscription.shared.publisher.publish(message).await?;
        Ok(self.settle().await)
    }

    /// `Ok(false)` and errors mean one thing: the broker was not told, and will hand the task out again.
    async fn settle(&mut self) -> Settled {
        let Some(acker) = self.acker.take().filter(|_| !self.subscription.lost.is_cancelled()) else {
            return Settled::WillBeRedelivered;
        };
        let ack = self.subscription.link.call(acker.ack(BasicAckOptions::default()));
        match ack.await {
            Ok(true) => Settled::Done,
            Ok(false) => Settled::WillBeRedelivered,
            Err(failure) => {
                tracing::info!(error = failure.text(), "the ack did not reach the broker");
                // The channel may still hold the delivery; without it the broker hands it out again for sure.
                self.subscription.end();
                Settled::WillBeRedelivered
            }
        }
    }

    fn onward(&self, info: &DeliveryInfo, counters: Counters, reason: &str) -> lapin::BasicProperties {
        let headers = onward_headers(&self.headers, info, counters, reason);
        properties(info.message_id.as_deref(), headers)
    }

    fn dead(&self, info: &DeliveryInfo, death: &Death) -> lapin::BasicProperties {
        let headers = dead_headers(&self.headers, info, death);
        properties(info.message_id.as_deref(), headers)
    }
}

impl Drop for RabbitSettle {
    fn drop(&mut self) {
        if self.acker.is_some() {
            self.subscription.end();
        }
    }
}

#[async_trait]
impl Settle for RabbitSettle {
    async fn ack(mut self: Box<Self>) -> Result<Settled, QueueError> {
        Ok(self.settle().await)
    }

    async fn retry(
        mut self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError> {
        let queue = &retry_queue(self.subscription.shared.tiers.at_least(retry.after));
        let counters = info.counters_after(&retry);
        let message = Message {
            exchange: RETRY_EXCHANGE,
            routing_key: queue,
            queue,
            mandatory: true,
            body,
            properties: self.onward(info, counters, &retry.reason),
        };
        self.move_on(message).await
    }

    async fn release(
        mut self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        reason: &str,
    ) -> Result<Settled, QueueError> {
        let properties = self.onward(info, info.counters(), reason);
        self.move_on(to_workers(body, properties)).await
    }

    async fn dead_letter(
        mut self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError> {
        let message = Message {
            exchange: DEAD_LETTER_EXCHANGE,
            routing_key: TASKS_QUEUE,
            queue: DEAD_LETTER_QUEUE,
            mandatory: true,
            body,
            properties: self.dead(info, death),
        };
        self.move_on(message).await
    }

    async fn normalise(mut self: Box<Self>, info: &DeliveryInfo, task: &Task) -> Result<Settled, QueueError> {
        let properties = properties(Some(&task.id.to_string()), normalised_headers(info));
        self.move_on(to_workers(&task.to_json(), properties)).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        lease::take(&self.subscription.link, key).await
    }

    fn lost(&self) -> CancellationToken {
        self.subscription.lost.clone()
    }
}

/// A message for the queue of tasks.
pub(super) fn to_workers(body: &[u8], properties: lapin::BasicProperties) -> Message<'_> {
    Message {
        exchange: TASKS_EXCHANGE,
        routing_key: TASKS_QUEUE,
        queue: TASKS_QUEUE,
        mandatory: true,
        body,
        properties,
    }
}
