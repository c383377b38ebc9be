//! Taking a task and acknowledging it, one at a time.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::TASKS_QUEUE;
use jira_agent::queue::{Settled, TaskQueue as _};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::timeout;

use crate::broker::Broker;
use crate::cli::Cli;
use crate::table::{Limit, Row, Samples};

/// A drain that takes longer has come to a stop.
const PATIENCE: Duration = Duration::from_mins(2);

/// Both sides take the same number of waiting tasks from the same queue, at prefetch 1; the clock runs from the first
/// delivery to the last ack.
pub async fn rows(broker: &Broker, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let queue = RabbitMq::connect(&broker.config(), "bench").await?;
    queue.apply_topology().await?;
    let (mut ours, mut plain) = (Samples::default(), Samples::default());
    // The round before the first only warms both sides up.
    for round in 0..=cli.rounds {
        for turn in [round % 2 == 0, round % 2 == 1] {
            broker.fill(cli.tasks).await.context("filling the queue")?;
            let (side, drain) = match turn {
                true => (&mut ours, timeout(PATIENCE, by_task_queue(&queue, cli.tasks)).await),
                false => (&mut plain, timeout(PATIENCE, by_lapin(broker, cli.tasks)).await),
            };
            let elapsed = drain.context("the queue is not drained in time")??;
            if round > 0 {
                side.push(f64::from(cli.tasks) / elapsed.as_secs_f64());
            }
        }
    }
    queue.close().await;
    Ok(vec![Row {
        name: "consume and ack at prefetch 1",
        unit: "tasks/s",
        ours,
        peer: Some(("lapin", plain)),
        limit: Limit::RatioAtLeast(0.95),
    }])
}

async fn by_task_queue(queue: &RabbitMq, count: u32) -> anyhow::Result<Duration> {
    let mut consumer = queue.consume().await?;
    let mut started = None;
    for _ in 0..count {
        let delivery = consumer.next().await.context("the consumer ended early")?;
        started.get_or_insert_with(Instant::now);
        anyhow::ensure!(delivery.ack().await? == Settled::Done, "an ack did not reach the broker");
    }
    let elapsed = started.map(|at| at.elapsed()).context("no task was taken")?;
    consumer.stop().await;
    Ok(elapsed)
}

async fn by_lapin(broker: &Broker, count: u32) -> anyhow::Result<Duration> {
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(TASKS_QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    let mut started = None;
    for _ in 0..count {
        let delivery = consumer.next().await.context("the consumer ended early")??;
        started.get_or_insert_with(Instant::now);
        anyhow::ensure!(delivery.ack(BasicAckOptions::default()).await?, "an ack did not reach the broker");
    }
    let elapsed = started.map(|at| at.elapsed()).context("no task was taken")?;
    channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
    connection.close(200, "OK".into()).await?;
    Ok(elapsed)
}
