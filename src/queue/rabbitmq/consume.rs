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
use super::publish::Publisher;
use super::returns::{self, Returns, Stay, Taker};
use super::settle::RabbitSettle;
use super::{control, message};
use crate::queue::tiers::Tiers;
use crate::queue::topology::TASKS_QUEUE;
use crate::queue::{Consumer, Delivery, QueueError};

/// What every consumer of one queue shares.
#[derive(Clone)]
pub(super) struct Shared {
    /// Where settled tasks are published on.
    pub(super) publisher: Arc<Publisher>,
    /// Where tasks wait.
    pub(super) tiers: Tiers,
    /// Which returns of a message were no deaths.
    pub(super) returns: Arc<Returns>,
}

/// The consumer's connection and what a delivery needs of it.
pub(super) struct Subscription {
    /// The connection: a delivery's lease lives on it as well.
    pub(super) link: Arc<Link>,
    /// What outlives the connection.
    pub(super) shared: Shared,
    /// Cancelled when the broker has taken the deliveries back: with the connection, the channel or the subscription.
    pub(super) lost: CancellationToken,
    stopping: CancellationToken,
    /// What this consumer holds is told from what other consumers of this process hold.
    taker: Taker,
    /// Cancelled when it holds nothing any more: with `lost`, or when it ends.
    over: CancellationToken,
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
    shared: Shared,
    consumer_timeout: Duration,
) -> Result<RabbitConsumer, QueueError> {
    // Read before anything new is taken, of which it is not yet known whether this process survives it.
    let left = shared.returns.left();
    let start = async {
        // Before the first delivery: whoever gets a message back listens from then on for who had it.
        let ear = control::listen(&link).await?;
        let channel = link.channel().await?;
        // One at a time: a worker that holds a delivery gets no other until that one is settled.
        link.call(channel.basic_qos(1, BasicQosOptions::default())).await?;
        let milliseconds = i64::try_from(consumer_timeout.as_millis()).unwrap_or(i64::MAX);
        let mut arguments = FieldTable::default();
        arguments.insert("x-consumer-timeout".into(), AMQPValue::LongLongInt(milliseconds));
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(TASKS_QUEUE.into(), "".into(), options, arguments);
        let stream = link.call(consume).await?;
        Ok((ear, channel, stream))
    };
    let (ear, channel, stream) = start.await.map_err(|failure: Failure| failure.into_error(link.host()))?;
    let tag = stream.tag();
    let (sender, deliveries) = mpsc::channel(1);
    let (publisher, lost) = (shared.publisher.clone(), link.lost().clone());
    tokio::spawn(shared.returns.clone().attend(publisher, ear, left, lost));
    let lost = link.lost().child_token();
    let over = lost.child_token();
    let subscription = Arc::new(Subscription {
        lost,
        taker: shared.returns.taker(over.clone()),
        over,
        link: Arc::new(link),
        shared,
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
                if let Some(delivery) = accept(&subscription, delivery).await
                    && sender.send(delivery).await.is_err()
                {
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

/// Makes a delivery of what the broker hands out, unless it goes back to the queue at once.
async fn accept(subscription: &Arc<Subscription>, delivery: lapin::message::Delivery) -> Option<Delivery> {
    let mut info = message::info(&delivery);
    let stay = message::stay(&delivery, &info);
    let returns = &subscription.shared.returns;
    returns.took(&subscription.taker, &stay);
    info.delivery_count = returns.deaths(&stay);
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let settle = RabbitSettle::new(subscription.clone(), delivery.acker, headers);
    let delivery = Delivery::new(Bytes::from(delivery.data), info, Box::new(settle));
    if stay.count < returns::SUSPICIOUS {
        return Some(delivery);
    }
    look_into(subscription, delivery, &stay).await
}

/// A message that came back often either kills its workers or has seen them lose their connections. In the second case
/// it goes back whole, which makes the broker count anew: at its limit it would put the message away, and who has not
/// heard what happened would take it for a killer.
async fn look_into(subscription: &Subscription, mut delivery: Delivery, stay: &Stay) -> Option<Delivery> {
    let Subscription { shared, lost, stopping, .. } = subscription;
    let stop = async {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = lost.cancelled() => {}
            () = stopping.cancelled() => {}
        }
    };
    let deaths = shared.returns.ask(&shared.publisher, stay, stop).await;
    delivery.info.delivery_count = deaths;
    if deaths >= returns::SUSPICIOUS {
        // Dropped without settling it keeps its count, for the next worker to look into.
        let wanted = !lost.is_cancelled() && !stopping.is_cancelled();
        return wanted.then_some(delivery);
    }
    let returned = stay.count;
    tracing::info!(
        returned,
        deaths,
        "a task came back from workers that live on; it is put on the queue anew"
    );
    if let Err(error) = delivery.release("its workers lost their connections").await {
        tracing::warn!(%error, "a task was not given back; the broker will hand it out again");
    }
    None
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
        self.over.cancel();
        self.link.close();
    }
}
