//! Workers that stand still, and workers that are merely busy.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jira_agent::config::QueueConfig;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::{LeaseOutcome, TaskQueue};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use super::{lease_key, next, task};
use crate::broker::{Broker, SOON, config};

/// The shortest that the settings allow.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The broker misses two heartbeats before it closes a connection, and looks at each half.
const FREED_WITHIN: Duration = Duration::from_secs(30);
/// How soon a worker has to know that its lease is lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// Names the broker to the child process.
const ADDRESS: &str = "JIRA_AGENT_TEST_HOLDER_OF";

fn slow(url: &str) -> QueueConfig {
    QueueConfig { heartbeat: HEARTBEAT, ..config(url) }
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\nholder: {line}").unwrap();
    out.flush().unwrap();
}

/// The child process: holds a task and its lease, and tells how it fares.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child process of the test below"]
async fn holder() {
    let Ok(url) = std::env::var(ADDRESS) else {
        return;
    };
    let queue = RabbitMq::connect(&slow(&url), "holder").await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let LeaseOutcome::Granted(lease) = delivery.lease(&lease_key()).await.unwrap() else {
        panic!("the lease is held by another");
    };
    say("held");
    // A gap in time is how a process knows that it stood still.
    let mut looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(1) {
        looked = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let woke = Instant::now();
    super::cancelled(&lease.lost()).await;
    super::cancelled(&delivery.lost()).await;
    say(&format!("lost after {} ms", woke.elapsed().as_millis()));
    say(&format!("{:?}", delivery.ack().await.unwrap()));
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    loop {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.expect("a line in time");
        let line = line.unwrap().expect("the holder says more");
        if let Some(said) = line.strip_prefix("holder: ") {
            return said.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_loses_its_lease_and_knows_it_when_it_wakes() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "queue::frozen::holder", "--ignored", "--nocapture"])
        .env(ADDRESS, broker.url().as_str())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert_eq!(line(&mut lines).await, "held");
    let pid = Pid::from_raw(holder.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let frozen = Instant::now();

    // Another worker gets the task, and with it the lease.
    let other = RabbitMq::connect(&slow(broker.url().as_str()), "other").await.unwrap();
    let mut consumer = other.consume().await.unwrap();
    let delivery = tokio::time::timeout(FREED_WITHIN, consumer.next()).await.expect("the broker frees it");
    let delivery = delivery.unwrap();
    assert!(delivery.info.redelivered);
    let LeaseOutcome::Granted(lease) = delivery.lease(&lease_key()).await.unwrap() else {
        panic!("still held {:?} after the holder froze", frozen.elapsed());
    };

    kill_process(pid, Signal::CONT).unwrap();
    let lost = line(&mut lines).await;
    let milliseconds = lost.strip_prefix("lost after ").unwrap().strip_suffix(" ms").unwrap();
    assert!(Duration::from_millis(milliseconds.parse().unwrap()) < KNOWN_WITHIN, "{lost}");
    assert_eq!(line(&mut lines).await, "WillBeRedelivered");
    assert!(tokio::time::timeout(SOON, holder.wait()).await.unwrap().unwrap().success());
    assert!(!lease.lost().is_cancelled() && !delivery.lost().is_cancelled());
    delivery.ack().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_other_threads_are_blocked_keeps_its_connection() {
    let broker = Broker::shared().await;
    let mut config = config(broker.url().as_str());
    config.heartbeat = Duration::from_secs(2);
    let queue = RabbitMq::connect(&config, "test").await.unwrap();
    queue.apply_topology().await.unwrap();
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let work = (0..4).map(|_| {
        let heartbeats = 4 * config.heartbeat;
        tokio::task::spawn_blocking(move || std::thread::sleep(heartbeats))
    });
    for done in futures_util::future::join_all(work).await {
        done.unwrap();
    }
    assert!(!delivery.lost().is_cancelled());
    delivery.ack().await.unwrap();
    broker.wait_for_depth(&queue, "agent-tasks", 0).await;
}
