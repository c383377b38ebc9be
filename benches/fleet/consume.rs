//! Taking a task and acknowledging it, one at a time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::TASKS_QUEUE;
use jira_agent::queue::{Consumer, Settled, TaskQueue as _};
use lapin::Connection;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::cli::Cli;
use crate::table::{Limit, Row, Samples};

/// A turn that takes longer has come to a stop.
const PATIENCE: Duration = Duration::from_mins(2);
/// Turns of each side in a round: many short ones, so that both sides of a pair find the machine alike.
const TURNS: u32 = 40;
/// Tasks that one side takes in a turn.
const TASKS: u32 = 25;

/// Both sides consume from the same full queue with prefetch 1 and take turns. The side that waits holds one delivery
/// and gets no other, so that every turn begins with a delivery at hand and ends with an ack.
pub async fn rows(broker: &Broker, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let queue = RabbitMq::connect(&broker.config(), "bench").await?;
    queue.apply_topology().await?;
    // The round before the first only warms both sides up.
    let rounds = cli.rounds + 1;
    broker.fill(2 * TASKS * TURNS * rounds + 2).await.context("filling the queue")?;
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    let mut consumer = queue.consume().await?;
    let mut peer = Plain::consume(broker).await?;
    for turn in 0..TURNS * rounds {
        for is_ours in [turn % 2 == 0, turn % 2 == 1] {
            let (side, elapsed) = match is_ours {
                true => (&mut ours, timeout(PATIENCE, by_task_queue(consumer.as_mut())).await),
                false => (&mut plain, timeout(PATIENCE, peer.turn()).await),
            };
            let elapsed = elapsed.context("a turn does not end in time")??;
            if turn >= TURNS {
                side.push(f64::from(TASKS) / elapsed.as_secs_f64());
            }
        }
    }
    consumer.stop().await;
    queue.close().await;
    peer.connection.close(200, "OK".into()).await?;
    Ok(vec![Row {
        name: "consume and ack at prefetch 1",
        unit: "tasks/s",
        ours,
        peer: Some(("lapin", plain)),
        limit: Limit::RatioAtLeast(0.95),
    }])
}

async fn by_task_queue(consumer: &mut dyn Consumer) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for _ in 0..TASKS {
        let delivery = consumer.next().await.context("the consumer ended early")?;
        anyhow::ensure!(delivery.ack().await? == Settled::Done, "an ack did not reach the broker");
    }
    Ok(started.elapsed())
}

/// What one would write with lapin alone.
struct Plain {
    connection: Connection,
    consumer: lapin::Consumer,
}

impl Plain {
    async fn consume(broker: &Broker) -> anyhow::Result<Self> {
        let connection = broker.connect().await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(TASKS_QUEUE.into(), "".into(), options, FieldTable::default()).await?;
        Ok(Self { connection, consumer })
    }

    async fn turn(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        for _ in 0..TASKS {
            let delivery = self.consumer.next().await.context("the consumer ended early")??;
            let acked = delivery.ack(BasicAckOptions::default()).await?;
            anyhow::ensure!(acked, "an ack did not reach the broker");
        }
        Ok(started.elapsed())
    }
}
