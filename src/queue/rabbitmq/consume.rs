//! Consuming, one delivery at a time: <https://www.rabbitmq.com/docs/consumers>.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Link};
use super::message;
use super::publish::Publisher;
use super::settle::RabbitSettle;
use crate::queue::tiers::Tiers;
use crate::queue::topology::TASKS_QUEUE;
use crate::queue::{Consumer, Delivery, QueueError};

/// The consumer's connection and what a delivery needs of it.
pub(super) struct Subscription {
    /// The connection: a delivery's lease lives on it as well.
    pub(super) link: Arc<Link>,
    /// Where settled tasks are published on.
    pub(super) publisher: Arc<Publisher>,
    /// Cancelled when the broker has taken the deliveries back: with the connection, the channel or the subscription.
    pub(super) lost: CancellationToken,
    /// Where tasks wait.
    pub(super) tiers: Tiers,
    stopping: CancellationToken,
}

pub(super) struct RabbitConsumer {
    subscription: Arc<Subscription>,
    channel: Channel,
    tag: ShortString,
    deliveries: mpsc::Receiver<Delivery>,
}

/// Subscribes on a connection of its own. `consumer_timeout` is the broker's limit for one delivery; brokers
/// before 4.3 ignore it here and have it in their own settings.
pub(super) async fn subscribe(
    link: Link,
    publisher: Arc<Publisher>,
    tiers: Tiers,
    consumer_timeout: Duration,
) -> Result<RabbitConsumer, QueueError> {
    let start = async {
        let channel = link.channel().await?;
        // One at a time: a worker that holds a delivery gets no other until that one is settled.
        link.call(channel.basic_qos(1, BasicQosOptions::default())).await?;
        let milliseconds = i64::try_from(consumer_timeout.as_millis()).unwrap_or(i64::MAX);
        let mut arguments = FieldTable::default();
        arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(milliseconds));
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(TASKS_QUEUE.into(), "".into(), options, arguments);
        let stream = link.call(consume).await?;
        Ok((channel, stream))
    };
    let (channel, stream) = start.await.map_err(|failure: Failure| failure.into_error(link.host()))?;
    let tag = stream.tag();
    let (sender, deliveries) = mpsc::channel(1);
    let subscription = Arc::new(Subscription {
        lost: link.lost().child_token(),
        link: Arc::new(link),
        publisher,
        tiers,
        stopping: CancellationToken::new(),
    });
    tokio::spawn(pump(subscription.clone(), stream, sender));
    Ok(RabbitConsumer { subscription, channel, tag, deliveries })
}

/// Moves deliveries from the broker's stream to the consumer, and watches the stream while nobody waits for a
/// delivery: its end means that the broker has taken back what is held.
async fn pump(subscription: Arc<Subscription>, mut stream: lapin::Consumer, sender: mpsc::Sender<Delivery>) {
    loop {
        // Cancel-safe: the stream keeps what was not yet taken from it, and it is not read again after `lost`.
        let item = tokio::select! {
            item = stream.next() => item,
            () = subscription.lost.cancelled() => break,
        };
        match item {
            Some(Ok(delivery)) => {
                if sender.send(accept(&subscription, delivery)).await.is_err() {
                    break;
                }
            }
            Some(Err(error)) => tracing::info!(%error, "the broker ended the subscription"),
            None => break,
        }
    }
    if !subscription.stopping.is_cancelled() {
        subscription.lost.cancel();
    }
}

fn accept(subscription: &Arc<Subscription>, delivery: lapin::message::Delivery) -> Delivery {
    let info = message::info(&delivery);
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let settle = RabbitSettle::new(subscription.clone(), delivery.acker, headers);
    Delivery::new(Bytes::from(delivery.data), info, Box::new(settle))
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.deliveries.recv().await?;
            // One that waited here while the connection was lost comes again.
            if !delivery.lost().is_cancelled() {
                return Some(delivery);
            }
        }
    }

    async fn stop(&mut self) {
        let Subscription { link, stopping, .. } = &*self.subscription;
        stopping.cancel();
        let options = BasicCancelOptions::default();
        let cancel = self.channel.basic_cancel(self.tag.clone(), options);
        if let Err(failure) = link.call(cancel).await {
            tracing::info!(error = failure.text(), "the subscription was gone before it was stopped");
            self.subscription.end();
        }
        // What was handed out but not yet asked for goes back without raising its delivery count.
        while let Some(delivery) = self.deliveries.recv().await {
            if let Err(error) = delivery.release("the worker stops").await {
                tracing::warn!(%error, "a task was not given back; the broker will hand it out again");
            }
        }
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.subscription.end();
    }
}

impl Subscription {
    /// Ends the connection, upon which the broker hands out again whatever is unsettled.
    pub(super) fn end(&self) {
        self.link.close();
    }
}
