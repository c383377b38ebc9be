//! A worker from its start to its first wait, and the memory it then holds.

use std::path::Path;
use std::time::Duration;

use jira_agent::queue::TaskQueue as _;
use jira_agent::queue::rabbitmq::RabbitMq;

use crate::broker::Broker;
use crate::cli::Cli;
use crate::process::Worker;
use crate::table::{Limit, Row, Samples};

/// How long a worker waits before its memory is read.
const IDLE: Duration = Duration::from_secs(5);
/// How many workers wait side by side.
const IDLE_WORKERS: u32 = 3;

/// From the start of the process to the log line `consuming`. The topology is there already.
pub async fn start(program: &Path, broker: &Broker, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    prepare(broker).await?;
    let directory = tempfile::tempdir()?;
    let mut ours = Samples::default();
    // The start before the first only brings the program into the page cache.
    for round in 0..=cli.rounds {
        let mut worker = Worker::start(program, directory.path(), broker)?;
        let elapsed = worker.consuming().await?;
        worker.end().await?;
        if round > 0 {
            ours.push(elapsed.as_secs_f64() * 1000.0);
        }
    }
    let name = "worker from start to consuming";
    Ok(vec![Row { name, unit: "ms", ours, peer: None, limit: Limit::AtMost(150.0) }])
}

/// `VmRSS` of workers on an empty queue.
pub async fn memory(program: &Path, broker: &Broker) -> anyhow::Result<Vec<Row>> {
    prepare(broker).await?;
    let directory = tempfile::tempdir()?;
    let mut workers = Vec::new();
    for _ in 0..IDLE_WORKERS {
        let mut worker = Worker::start(program, directory.path(), broker)?;
        worker.consuming().await?;
        workers.push(worker);
    }
    tokio::time::sleep(IDLE).await;
    let mut ours = Samples::default();
    for worker in workers {
        ours.push(worker.resident_bytes()? as f64 / 1e6);
        worker.end().await?;
    }
    let name = "idle worker's resident memory";
    Ok(vec![Row { name, unit: "MB", ours, peer: None, limit: Limit::AtMost(25.0) }])
}

/// The topology exists and no task waits.
async fn prepare(broker: &Broker) -> anyhow::Result<()> {
    let queue = RabbitMq::connect(&broker.config(), "bench").await?;
    queue.apply_topology().await?;
    queue.close().await;
    broker.fill(0).await
}
