//! Orders to all workers, through a fanout exchange. Each listener has a queue of its own that lives as long as its
//! connection: an order is for those who are at work now.

use futures_util::{Stream, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use ulid::Ulid;

use super::connection::{Failure, Link};
use super::message::properties;
use super::publish::{Message, Publisher};
use super::returns;
use crate::domain::Order;
use crate::queue::topology::CONTROL_EXCHANGE;
use crate::queue::{OrderStream, QueueError};

/// The name of a listener's queue begins so; a worker needs the right to configure, write and read such names.
const QUEUE_PREFIX: &str = "agent-control.";

/// Publishes an order. Nobody may be at work, so it need not reach a queue.
pub(super) async fn order(publisher: &Publisher, order: &Order) -> Result<(), QueueError> {
    let body = serde_json::to_vec(order)
        .map_err(|error| QueueError::Refused(format!("the order is not JSON: {error}")))?;
    let message = Message {
        exchange: CONTROL_EXCHANGE,
        routing_key: "",
        queue: CONTROL_EXCHANGE,
        mandatory: false,
        body: &body,
        properties: properties(None, FieldTable::default()),
    };
    publisher.publish(message).await
}

/// Listens on a connection of its own, which ends with the stream, and the stream with it.
pub(super) async fn orders(link: Link) -> Result<OrderStream, QueueError> {
    let ear = listen(&link).await.map_err(|failure| failure.into_error(link.host()))?;
    Ok(Box::pin(parsed(link, ear)))
}

/// What a listener hears; dropping it ends the listening.
pub(super) struct Ear {
    /// Everything that is said, from now on.
    pub(super) words: lapin::Consumer,
    /// Keeps the queue.
    _channel: Channel,
}

/// Listens with a queue that lives as long as this connection, on a channel of its own.
pub(super) async fn listen(link: &Link) -> Result<Ear, Failure> {
    let channel = link.channel().await?;
    let name = format!("{QUEUE_PREFIX}{}", Ulid::generate());
    let name = || name.as_str().into();
    let empty = FieldTable::default;
    let options = QueueDeclareOptions::exclusive().auto_delete();
    link.call(channel.queue_declare(name(), options, empty())).await?;
    let options = QueueBindOptions::default();
    link.call(channel.queue_bind(name(), CONTROL_EXCHANGE.into(), "".into(), options, empty())).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let words = link.call(channel.basic_consume(name(), "".into(), options, empty())).await?;
    Ok(Ear { words, _channel: channel })
}

fn parsed(link: Link, ear: Ear) -> impl Stream<Item = Order> + Send {
    let lost = link.lost().clone();
    let Ear { words, _channel: channel } = ear;
    // What keeps the queue alive travels with the stream.
    let held = (link, channel);
    let orders = words.filter_map(move |item| {
        let _ = &held;
        std::future::ready(item.ok().as_ref().and_then(read))
    });
    orders.take_until(async move { lost.cancelled().await })
}

fn read(delivery: &Delivery) -> Option<Order> {
    if delivery.routing_key.as_str() == returns::ROUTING_KEY {
        return None;
    }
    let order = serde_json::from_slice(&delivery.data);
    order.inspect_err(|error| tracing::info!(%error, "an order that this version does not know")).ok()
}
