//! A process of its own that holds a task or a lease, to be killed or frozen: this test program once more, running
//! nothing but the test at the end of this file.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::{Counts, Delivery, Lease, connect};
use jira_agent::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::act::{Hands, cancelled, granted, lease_key, retry};
use super::stage::{Cannot, LEASE_TIMEOUT, Stage, TIERS};
use crate::broker::{SOON, config};

/// What the process is to do, as JSON; not set: nothing.
const ORDERS: &str = "JIRA_AGENT_TEST_HOLDER";
const TEST: &str = "queue_conformance::holder::what_a_holder_process_does";
/// Its lines begin so; others are the test harness's.
const MARK: &str = "holder: ";
/// How often it shows the broker that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a holder takes.
#[derive(Clone, Copy)]
pub enum Takes {
    Task,
    TaskAndLease,
    Lease,
}

/// The process, until it is killed.
pub struct Holder {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The settings of every client of a stage.
pub fn settings(kind: QueueKind, url: &str, path: Option<PathBuf>) -> QueueConfig {
    QueueConfig {
        kind,
        url: Secret::new(url),
        path,
        retry_delays: TIERS.into(),
        lease_timeout: LEASE_TIMEOUT,
        ..config(url)
    }
}

impl Holder {
    /// Starts it and waits until it holds what it should.
    pub async fn start(stage: &dyn Stage, takes: Takes) -> Result<Self, Cannot> {
        let config = stage.address()?;
        let kind = match config.kind {
            QueueKind::Rabbitmq => "rabbitmq",
            QueueKind::Redis => "redis",
            QueueKind::Sqlite => "sqlite",
        };
        let orders = json!({
            "kind": kind,
            "url": config.url.expose(),
            "path": config.path,
            "task": matches!(takes, Takes::Task | Takes::TaskAndLease),
            "lease": matches!(takes, Takes::Lease | Takes::TaskAndLease),
        });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(ORDERS, orders.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut holder = Self { orders: child.stdin.take().unwrap(), lines, child };
        assert_eq!(holder.says().await, "holding");
        Ok(holder)
    }

    /// Has it do one more thing, and its answer.
    pub async fn asked(&mut self, what: &str) -> String {
        self.orders.write_all(format!("{what}\n").as_bytes()).await.unwrap();
        self.says().await
    }

    async fn says(&mut self) -> String {
        loop {
            let line = tokio::time::timeout(SOON, self.lines.next_line()).await;
            let line = line.expect("an answer in time").unwrap().expect("the holder still runs");
            if let Some((_, words)) = line.split_once(MARK) {
                return words.to_owned();
            }
        }
    }

    /// Kills it at once, as the kernel does when memory runs out.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops it without its knowing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

/// Not a test by itself: what [`Holder::start`] starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_holder_process_does() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let orders: Value = serde_json::from_str(&orders).unwrap();
    let kind = serde_json::from_value(orders["kind"].clone()).unwrap();
    let path = serde_json::from_value(orders["path"].clone()).unwrap();
    let mut config = settings(kind, orders["url"].as_str().unwrap(), path);
    config.heartbeat = HEARTBEAT;
    let queue = connect(&config, "holder").await.unwrap();
    let mut hands = None;
    let mut delivery = None;
    let mut lease = None;
    if orders["task"] == true {
        let hands = hands.insert(Hands::of(&queue).await);
        delivery = Some(hands.next().await);
    }
    if orders["lease"] == true {
        lease = Some(granted(match &delivery {
            Some(delivery) => delivery.lease(&lease_key()).await.unwrap(),
            None => queue.lease(&lease_key()).await.unwrap(),
        }));
    }
    say("holding");
    loop {
        let order = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next());
        // Without whoever started it there is nothing left to do.
        let Some(Ok(order)) = order.await.unwrap() else {
            return;
        };
        say(&obey(&order, &mut delivery, &mut lease).await);
    }
}

async fn obey(order: &str, delivery: &mut Option<Delivery>, lease: &mut Option<Lease>) -> String {
    match order {
        "know" => {
            let start = Instant::now();
            cancelled(&delivery.as_ref().unwrap().lost()).await;
            start.elapsed().as_millis().to_string()
        }
        "retry" => {
            let retry = retry(Duration::ZERO, Counts::Attempt);
            format!("{:?}", delivery.take().unwrap().retry(retry).await.unwrap())
        }
        "give back" => {
            lease.take().unwrap().release().await;
            "given back".to_owned()
        }
        other => panic!("a holder does not know how to `{other}`"),
    }
}

fn say(words: &str) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{MARK}{words}").unwrap();
    stdout.flush().unwrap();
}
