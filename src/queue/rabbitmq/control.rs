//! Orders to all workers, through a fanout exchange. Each listener has a queue of its own that lives as long as its
//! connection: an order is for those who are at work now.

use futures_util::{Stream, StreamExt};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use ulid::Ulid;

use super::connection::{Failure, Link};
use super::message::properties;
use super::publish::{Message, Publisher};
use crate::domain::Order;
use crate::queue::topology::CONTROL_EXCHANGE;
use crate::queue::{OrderStream, QueueError};

/// The name of a listener's queue begins so; a worker needs the right to configure and read such names.
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
    let listen = async {
        let channel = link.channel().await?;
        let name = format!("{QUEUE_PREFIX}{}", Ulid::generate());
        let empty = FieldTable::default;
        let options = QueueDeclareOptions::exclusive().auto_delete();
        link.call(channel.queue_declare(name.as_str().into(), options, empty())).await?;
        let options = QueueBindOptions::default();
        let bind =
            channel.queue_bind(name.as_str().into(), CONTROL_EXCHANGE.into(), "".into(), options, empty());
        link.call(bind).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consume = channel.basic_consume(name.as_str().into(), "".into(), options, empty());
        let stream = link.call(consume).await?;
        Ok((channel, stream))
    };
    let (channel, stream) = listen.await.map_err(|failure: Failure| failure.into_error(link.host()))?;
    Ok(Box::pin(parsed(link, channel, stream)))
}

fn parsed(link: Link, channel: lapin::Channel, stream: lapin::Consumer) -> impl Stream<Item = Order> + Send {
    let lost = link.lost().clone();
    // What keeps the queue alive travels with the stream.
    let held = (link, channel);
    let orders = stream.filter_map(move |item| {
        let _ = &held;
        let order = item.ok().and_then(|delivery| {
            let order = serde_json::from_slice(&delivery.data);
            order.inspect_err(|error| tracing::info!(%error, "an order that this version does not know")).ok()
        });
        std::future::ready(order)
    });
    orders.take_until(async move { lost.cancelled().await })
}
