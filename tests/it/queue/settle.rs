//! Retries, dead letters, normalising and giving back.

use std::time::Duration;

use jira_agent::domain::TaskBody;
use jira_agent::queue::{Counts, Death, Delivery, Retry, Settled, TaskQueue};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::{next, task};
use crate::broker::Broker;

fn retry(minutes: u64, counts: Counts) -> Retry {
    Retry { after: Duration::from_mins(minutes), counts, reason: "the model is busy".to_owned() }
}

fn header(message: &lapin::message::Delivery, name: &str) -> Option<AMQPValue> {
    message.properties.headers().as_ref()?.inner().get(name).cloned()
}

fn text(value: &str) -> Option<AMQPValue> {
    Some(AMQPValue::LongString(value.into()))
}

/// A message as it looks after a crash, two retries and a trip through the broker.
fn seasoned() -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("x-attempt", AMQPValue::LongInt(3)),
        ("x-crashes", AMQPValue::LongInt(1)),
        ("x-first-published", AMQPValue::LongString("2026-01-30T12:00:00Z".into())),
        ("traceparent", AMQPValue::LongString("00-trace-span-01".into())),
        ("x-first-death-queue", AMQPValue::LongString("agent-tasks.retry.30s".into())),
        ("x-delivery-count", AMQPValue::LongInt(2)),
    ] {
        headers.insert(name.into(), value);
    }
    BasicProperties::default().with_headers(headers).with_message_id("id-1".into())
}

async fn delivered(
    broker: &Broker,
    queue: &dyn TaskQueue,
) -> (Box<dyn jira_agent::queue::Consumer>, Delivery) {
    broker.publish("PROJ-1", seasoned()).await;
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.info.attempt, delivery.info.crashes), (3, 1));
    assert_eq!(delivery.info.traceparent.as_deref(), Some("00-trace-span-01"));
    (consumer, delivery)
}

#[tokio::test]
async fn a_retry_waits_in_its_tier_with_its_headers() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    for (minutes, counts, tier, attempt, crashes) in [
        (0, Counts::Attempt, "agent-tasks.retry.30s", 4, 0),
        (1, Counts::Wait, "agent-tasks.retry.2m", 3, 1),
        (10, Counts::Crash, "agent-tasks.retry.10m", 3, 2),
        (600, Counts::Attempt, "agent-tasks.retry.1h", 4, 0),
    ] {
        let (_consumer, delivery) = delivered(&broker, &queue).await;
        assert_eq!(delivery.retry(retry(minutes, counts)).await.unwrap(), Settled::Done);
        let message = broker.take(tier).await;
        assert_eq!(message.data, b"PROJ-1");
        assert_eq!(message.properties.message_id().as_ref().unwrap().as_str(), "id-1");
        assert_eq!(*message.properties.delivery_mode(), Some(2));
        assert_eq!(header(&message, "x-attempt"), Some(AMQPValue::LongLongInt(attempt)));
        assert_eq!(header(&message, "x-crashes"), Some(AMQPValue::LongLongInt(crashes)));
        assert_eq!(header(&message, "x-reason"), text("the model is busy"));
        assert_eq!(header(&message, "x-first-published"), text("2026-01-30T12:00:00Z"));
        assert_eq!(header(&message, "traceparent"), text("00-trace-span-01"));
        assert_eq!(header(&message, "x-first-death-queue"), None);
        // The broker counts anew.
        assert_eq!(header(&message, "x-delivery-count"), Some(AMQPValue::LongLongInt(0)));
    }
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
}

#[tokio::test]
async fn a_retried_task_comes_back_to_the_workers_by_itself() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    // The tier's own time is half a minute at least; the lower of the two holds.
    broker.set_policy("retry.30s$", json!({"message-ttl": 50})).await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let first = next(&mut consumer).await;
    let first_published = first.info.first_published;
    assert_eq!(first.retry(retry(0, Counts::Attempt)).await.unwrap(), Settled::Done);
    let second = next(&mut consumer).await;
    assert_eq!(second.info.message_id, Some(task.id.to_string()));
    assert_eq!((second.info.attempt, second.info.delivery_count), (2, 0));
    assert_eq!(second.info.first_published, first_published);
    assert_eq!(second.retry(retry(0, Counts::Wait)).await.unwrap(), Settled::Done);
    assert_eq!(next(&mut consumer).await.info.attempt, 2);
}

#[tokio::test]
async fn a_dead_letter_waits_for_people_with_its_reason() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_consumer, delivery) = delivered(&broker, &queue).await;
    let reason = format!("no such repository: {}", "é".repeat(2000));
    assert_eq!(delivery.dead_letter(&Death::new(&reason)).await.unwrap(), Settled::Done);
    let message = broker.take("agent-tasks.dlq").await;
    assert_eq!(message.data, b"PROJ-1");
    assert_eq!(header(&message, "x-attempt"), Some(AMQPValue::LongLongInt(3)));
    let Some(AMQPValue::LongString(kept)) = header(&message, "x-reason") else {
        panic!("a dead letter has a reason");
    };
    assert!(kept.len() <= 1024 && reason.as_bytes().starts_with(kept.as_bytes()));
    assert!(kept.len() > 1000);
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
}

#[tokio::test]
async fn a_body_without_an_id_is_normalised_into_a_new_message() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    broker.publish("PROJ-1", BasicProperties::default()).await;
    let mut consumer = queue.consume().await.unwrap();
    let bare = next(&mut consumer).await;
    assert_eq!((bare.info.message_id.clone(), bare.info.attempt), (None, 1));
    let body = TaskBody::parse(&bare.body).unwrap();
    assert!(!body.had_id);
    assert_eq!(bare.normalise(&body.task).await.unwrap(), Settled::Done);
    let whole = next(&mut consumer).await;
    assert_eq!(whole.info.message_id, Some(body.task.id.to_string()));
    assert_eq!((whole.info.attempt, whole.info.redelivered), (1, false));
    let again = TaskBody::parse(&whole.body).unwrap();
    assert!(again.had_id);
    assert_eq!(again.task, body.task);
    assert_eq!(whole.ack().await.unwrap(), Settled::Done);
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
}

#[tokio::test]
async fn a_released_task_is_there_at_once_and_as_it_was() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (mut consumer, delivery) = delivered(&broker, &queue).await;
    assert_eq!(delivery.release("the worker stops").await.unwrap(), Settled::Done);
    let again = next(&mut consumer).await;
    assert_eq!((again.info.attempt, again.info.crashes), (3, 1));
    assert_eq!((again.info.delivery_count, again.info.redelivered), (0, false));
}

#[tokio::test]
async fn a_task_that_cannot_be_published_on_stays_and_comes_again() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_connection, channel) = broker.channel().await;
    let (mut consumer, delivery) = delivered(&broker, &queue).await;
    let options = lapin::options::QueueDeleteOptions::default();
    channel.queue_delete("agent-tasks.retry.30s".into(), options).await.unwrap();
    let error = delivery.retry(retry(0, Counts::Attempt)).await.unwrap_err();
    assert!(error.to_string().contains("agent-tasks.retry.30s"), "{error}");
    super::end_of(&mut consumer).await;
    let mut consumer = queue.consume().await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((again.info.attempt, again.info.redelivered), (3, true));
}

#[tokio::test]
async fn a_task_that_the_broker_took_back_is_not_published_a_second_time() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (consumer, delivery) = delivered(&broker, &queue).await;
    drop(consumer);
    super::cancelled(&delivery.lost()).await;
    assert_eq!(delivery.retry(retry(0, Counts::Attempt)).await.unwrap(), Settled::WillBeRedelivered);
    broker.wait_for_depth(&queue, "agent-tasks", 1).await;
    assert_eq!(queue.depths().await.unwrap()["agent-tasks.retry.30s"], 0);
}
