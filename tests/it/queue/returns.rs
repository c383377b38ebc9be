//! Which returns of a task count as deaths of its workers.

use std::time::{Duration, Instant};

use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::{Consumer, Delivery, Settled, TaskQueue};

use super::{end_of, next, task};
use crate::broker::{Broker, SOON, wait_for};

/// In a row, as often as a bad night may bring.
const TIMES: usize = 10;

/// How soon a worker has to know that its connection is lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// A worker of its own: another one shares nothing with it but the broker.
struct Worker {
    queue: RabbitMq,
    consumer: Box<dyn Consumer>,
}

impl Worker {
    async fn new(broker: &Broker) -> Self {
        let queue = RabbitMq::connect(&broker.config(), "test").await.unwrap();
        let consumer = queue.consume().await.unwrap();
        Self { queue, consumer }
    }

    async fn again(&mut self) {
        // What came to this one while only the other's connection was closed is dropped with its own.
        let end = async { while self.consumer.next().await.is_some() {} };
        tokio::time::timeout(SOON, end).await.expect("an end in time");
        let consumer = wait_for("the broker", async || self.queue.consume().await.ok());
        self.consumer = consumer.await;
    }
}

/// The task, to whichever of the two it comes.
async fn to_either(one: &mut Worker, other: &mut Worker) -> Delivery {
    // Cancel-safe: `next` is by its contract.
    tokio::select! {
        delivery = next(&mut one.consumer) => delivery,
        delivery = next(&mut other.consumer) => delivery,
    }
}

/// Two workers share one long task, and both lose their connections again and again.
async fn both_lose_their_connections(broker: &Broker, disturb: impl AsyncFn()) {
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let (mut one, mut other) = (Worker::new(broker).await, Worker::new(broker).await);
    let mut held = to_either(&mut one, &mut other).await;
    for time in 1..=TIMES {
        wait_for("a lost connection", async || {
            disturb().await;
            tokio::time::timeout(KNOWN_WITHIN, held.lost().cancelled_owned()).await.ok()
        })
        .await;
        drop(held);
        tokio::join!(one.again(), other.again());
        held = to_either(&mut one, &mut other).await;
        assert_eq!(held.info.message_id, Some(task.id.to_string()));
        assert!(held.info.delivery_count < 2, "time {time}: {:?}", held.info);
        assert_eq!((held.info.attempt, held.info.crashes, held.info.waits), (1, 0, 0));
    }
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
    let depths = wait_for("the depths", async || queue.depths().await.ok()).await;
    assert!(depths.iter().all(|(name, depth)| name == "agent-events" || *depth == 0), "{depths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_restarts_of_the_broker_are_no_death() {
    let broker = Broker::alone().await;
    both_lose_their_connections(&broker, async || broker.control("restart").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_closings_of_the_connection_by_an_administrator_are_no_death() {
    let broker = Broker::shared().await;
    both_lose_their_connections(&broker, async || broker.close_connections("test (consuming)").await).await;
}

/// Takes the task as a process would that dies over it: nobody is left to speak up.
async fn take_and_die(broker: &Broker) {
    let (connection, channel) = broker.channel().await;
    channel.basic_qos(1, Default::default()).await.unwrap();
    let consume =
        channel.basic_consume("agent-tasks".into(), "".into(), Default::default(), Default::default());
    let mut stream = consume.await.unwrap();
    let taken = futures_util::StreamExt::next(&mut stream).await.unwrap().unwrap();
    connection.close(320, "killed".into()).await.unwrap();
    drop(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_deaths_are_counted_though_others_live() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    take_and_die(&broker).await;
    take_and_die(&broker).await;
    let started = Instant::now();
    let mut worker = Worker::new(&broker).await;
    let _bystander = Worker::new(&broker).await;
    let delivery = next(&mut worker.consumer).await;
    assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (2, true));
    assert!(started.elapsed() > Duration::from_secs(5), "who had it was given time to speak up");
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_return_is_handed_out_at_once() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    take_and_die(&broker).await;
    let started = Instant::now();
    let mut worker = Worker::new(&broker).await;
    assert_eq!(next(&mut worker.consumer).await.info.delivery_count, 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_only_connecting_again_is_waited_for() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut first = Worker::new(&broker).await;
    let held = next(&mut first.consumer).await;
    broker.close_connections("test (consuming)").await;
    super::cancelled(&held.lost()).await;
    take_and_die(&broker).await;
    // This one has heard of nothing; the first comes back while it wonders.
    let mut second = Worker::new(&broker).await;
    let early = tokio::time::timeout(Duration::from_secs(2), second.consumer.next()).await;
    assert!(early.is_err(), "{early:?}");
    first.again().await;
    let delivery = to_either(&mut first, &mut second).await;
    // It was put on the queue anew.
    assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (0, false));
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_while_it_wonders_leaves_the_count_as_it_is() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    take_and_die(&broker).await;
    take_and_die(&broker).await;
    let mut worker = Worker::new(&broker).await;
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
    let started = Instant::now();
    worker.consumer.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    end_of(&mut worker.consumer).await;
    broker.wait_for_depth(&queue, "agent-tasks", 1).await;
    drop(worker);
    let mut next_worker = Worker::new(&broker).await;
    assert!(next(&mut next_worker.consumer).await.info.delivery_count >= 2);
}
