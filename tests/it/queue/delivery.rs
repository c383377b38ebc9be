//! Publishing, consuming, acking, and what is delivered again.

use std::time::{Duration, Instant};

use jira_agent::domain::TaskBody;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::{Death, QueueError, Settled, TaskQueue};
use lapin::BasicProperties;
use lapin::options::QueueDeleteOptions;
use serde_json::json;

use super::{cancelled, end_of, next, task};
use crate::broker::{Broker, wait_for};

/// How soon a worker has to know that its connection is lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_published_task_is_delivered_once_and_forgotten_when_acked() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(TaskBody::parse(&delivery.body).unwrap().task, task);
    let info = &delivery.info;
    assert_eq!(info.message_id, Some(task.id.to_string()));
    assert_eq!((info.attempt, info.crashes, info.delivery_count, info.redelivered), (1, 0, 0, false));
    assert!(info.first_published.is_some());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    drop(consumer);
    let mut consumer = queue.consume().await.unwrap();
    consumer.stop().await;
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
}

#[tokio::test]
async fn a_message_is_persistent_json_that_names_its_task() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let message = broker.take("agent-tasks").await;
    let properties = &message.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), task.id.to_string());
    assert!(properties.timestamp().is_some());
}

#[tokio::test]
async fn a_consumer_gets_one_task_at_a_time() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let first = next(&mut consumer).await;
    let early = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(early.is_err());
    first.ack().await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
}

#[tokio::test]
async fn a_task_that_no_queue_takes_is_an_error() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_connection, channel) = broker.channel().await;
    channel.queue_delete("agent-tasks".into(), QueueDeleteOptions::default()).await.unwrap();
    let error = queue.publish(&task()).await.unwrap_err();
    assert!(matches!(&error, QueueError::Unroutable(name) if name == "agent-tasks"), "{error}");
    assert!(error.to_string().contains("topology apply"), "{error}");
    // The publishing channel is still good.
    queue.apply_topology().await.unwrap();
    queue.publish(&task()).await.unwrap();
}

#[tokio::test]
async fn a_missing_exchange_is_an_error_that_says_what_to_do() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_connection, channel) = broker.channel().await;
    let options = lapin::options::ExchangeDeleteOptions::default();
    channel.exchange_delete("agent.tasks".into(), options).await.unwrap();
    let error = queue.publish(&task()).await.unwrap_err();
    assert!(matches!(error, QueueError::Topology(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("agent.tasks") && text.contains("topology apply"), "{text}");
    queue.apply_topology().await.unwrap();
    queue.publish(&task()).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_the_task() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    broker.set_policy("^agent-tasks$", json!({"max-length": 1})).await;
    let error = wait_for("a refusal", async || queue.publish(&task()).await.err()).await;
    assert!(matches!(&error, QueueError::Full(name) if name == "agent-tasks"), "{error}");
}

#[tokio::test]
async fn a_delivery_dropped_unsettled_is_delivered_again() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    drop(next(&mut consumer).await);
    end_of(&mut consumer).await;
    let mut consumer = queue.consume().await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!(again.info.message_id, Some(task.id.to_string()));
    assert_eq!(
        (again.info.redelivered, again.info.delivery_count),
        (true, 0),
        "who dropped it is no dead worker"
    );
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn a_delivery_whose_connection_is_closed_knows_it_and_comes_again() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let lost = delivery.lost();
    assert!(!lost.is_cancelled());
    broker.close_connections("test (consuming)").await;
    let closed = Instant::now();
    cancelled(&lost).await;
    assert!(closed.elapsed() < KNOWN_WITHIN, "{:?}", closed.elapsed());
    assert_eq!(delivery.ack().await.unwrap(), Settled::WillBeRedelivered);
    end_of(&mut consumer).await;
    let mut consumer = queue.consume().await.unwrap();
    assert!(next(&mut consumer).await.info.redelivered);
}

#[tokio::test]
async fn the_end_of_the_subscription_is_known_while_a_task_is_held() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let (_connection, channel) = broker.channel().await;
    // The broker cancels the subscription; the connection stays.
    channel.queue_delete("agent-tasks".into(), QueueDeleteOptions::default()).await.unwrap();
    cancelled(&delivery.lost()).await;
    end_of(&mut consumer).await;
}

#[tokio::test]
async fn a_restart_of_the_broker_is_known_at_once_and_loses_nothing() {
    let broker = Broker::alone().await;
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let lost = delivery.lost();
    broker.control("kill").await;
    let killed = Instant::now();
    cancelled(&lost).await;
    assert!(killed.elapsed() < KNOWN_WITHIN, "{:?}", killed.elapsed());
    assert_eq!(delivery.ack().await.unwrap(), Settled::WillBeRedelivered);
    end_of(&mut consumer).await;
    let error = queue.consume().await.err().unwrap();
    assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
    let error = queue.publish(&task).await.unwrap_err();
    assert!(matches!(error, QueueError::Unreachable(_)), "{error}");

    broker.control("start").await;
    let mut consumer = wait_for("the broker", async || queue.consume().await.ok()).await;
    let again = next(&mut consumer).await;
    assert_eq!(again.info.message_id, Some(task.id.to_string()));
    assert!(again.info.redelivered);
    let lost = again.lost();
    broker.control("restart").await;
    cancelled(&lost).await;
    assert_eq!(again.dead_letter(&Death::new("it ran too late")).await.unwrap(), Settled::WillBeRedelivered);

    let mut consumer = wait_for("the broker", async || queue.consume().await.ok()).await;
    assert_eq!(next(&mut consumer).await.ack().await.unwrap(), Settled::Done);
    consumer.stop().await;
    assert!(queue.depths().await.unwrap().values().all(|depth| *depth == 0));
}

#[tokio::test]
async fn publishing_goes_on_after_its_connection_was_closed() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    broker.close_connections("test (publishing)").await;
    queue.publish(&task()).await.unwrap();
    queue.close().await;
    queue.publish(&task()).await.unwrap();
    broker.wait_for_depth(&queue, "agent-tasks", 3).await;
}

#[tokio::test]
async fn a_broker_that_is_short_of_memory_is_waited_for_in_vain_but_not_for_long() {
    let broker = Broker::alone().await;
    let queue = broker.queue().await;
    let mut config = broker.config();
    config.timeout = Duration::from_secs(2);
    let hasty = RabbitMq::connect(&config, "test").await.unwrap();
    hasty.publish(&task()).await.unwrap();
    broker.control("alarm").await;
    let error = wait_for("a refusal", async || {
        let started = Instant::now();
        let error = hasty.publish(&task()).await.err();
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        error
    });
    let error = error.await;
    broker.control("calm").await;
    assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("not short of memory or disk"), "{error}");
    wait_for("memory", async || queue.publish(&task()).await.ok()).await;
}

#[tokio::test]
async fn a_publish_that_is_given_up_leaves_the_next_one_its_own_answer() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    for microseconds in [1, 50, 100, 200, 400, 800, 1600] {
        let limit = Duration::from_micros(microseconds);
        let _ = tokio::time::timeout(limit, queue.publish(&task())).await;
        queue.publish(&task()).await.unwrap();
    }
    assert!(queue.depths().await.unwrap()["agent-tasks"] >= 8);
}

#[tokio::test]
async fn a_stopped_consumer_settles_what_it_holds_and_takes_no_more() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let held = next(&mut consumer).await;
    consumer.stop().await;
    assert!(!held.lost().is_cancelled());
    end_of(&mut consumer).await;
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
    drop(consumer);
    broker.wait_for_depth(&queue, "agent-tasks", 1).await;
}

#[tokio::test]
async fn what_was_handed_out_but_not_asked_for_goes_back_unharmed_on_stop() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    broker.publish("PROJ-1", BasicProperties::default()).await;
    let mut consumer = queue.consume().await.unwrap();
    // It left the queue: it waits in the consumer.
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
    consumer.stop().await;
    end_of(&mut consumer).await;
    let message = broker.take("agent-tasks").await;
    assert_eq!(message.data, b"PROJ-1");
    assert!(!message.redelivered);
}
