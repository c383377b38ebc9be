//! Events of runs, through a topic exchange: <https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-topic>.

use futures_util::{Stream, StreamExt};
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connection::{Failure, Link};
use super::message::properties;
use super::publish::{Message, Publisher};
use crate::domain::{Event, TaskId};
use crate::queue::topology::{EVENTS_EXCHANGE, EVENTS_QUEUE};
use crate::queue::{EventStream, QueueError};

/// Publishes an event. It need not reach a queue: nobody may be listening. Its message id is the event's.
pub(super) async fn emit(publisher: &Publisher, event: &Event) -> Result<(), QueueError> {
    let body = serde_json::to_vec(event)
        .map_err(|error| QueueError::Refused(format!("the event is not JSON: {error}")))?;
    let message = Message {
        exchange: EVENTS_EXCHANGE,
        routing_key: &format!("run.{}.{}", event.run, event.kind),
        queue: EVENTS_QUEUE,
        mandatory: false,
        body: &body,
        properties: properties(Some(&event.id.to_string()), FieldTable::default()),
    };
    publisher.publish(message).await
}

/// Follows runs with a queue that lives as long as the connection. The stream ends with the connection, and the
/// connection with the stream.
pub(super) async fn follow(link: Link, runs: &[TaskId]) -> Result<EventStream, QueueError> {
    let listen = async {
        let channel = link.channel().await?;
        let options = QueueDeclareOptions::exclusive().auto_delete();
        let empty = FieldTable::default;
        let queue = link.call(channel.queue_declare("".into(), options, empty())).await?;
        let name = queue.name().clone();
        for run in runs {
            let key = format!("run.{run}.#");
            let bind = channel.queue_bind(
                name.clone(),
                EVENTS_EXCHANGE.into(),
                key.as_str().into(),
                QueueBindOptions::default(),
                empty(),
            );
            link.call(bind).await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let stream = link.call(channel.basic_consume(name, "".into(), options, empty())).await?;
        Ok((channel, stream))
    };
    let (channel, stream) = listen.await.map_err(|failure: Failure| failure.into_error(link.host()))?;
    Ok(Box::pin(events(link, channel, stream)))
}

fn events(link: Link, channel: lapin::Channel, stream: lapin::Consumer) -> impl Stream<Item = Event> + Send {
    let lost = link.lost().clone();
    // What keeps the queue alive travels with the stream.
    let held = (link, channel);
    let parsed = stream.filter_map(move |item| {
        let _ = &held;
        let event = item.ok().and_then(|delivery| {
            let event = serde_json::from_slice(&delivery.data);
            event.inspect_err(|error| tracing::warn!(%error, "an event that this version cannot read")).ok()
        });
        std::future::ready(event)
    });
    parsed.take_until(async move { lost.cancelled().await })
}
