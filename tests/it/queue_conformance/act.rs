//! What behaviours are told with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jira_agent::domain::Task;
use jira_agent::queue::{
    Backlog, Consumer, Counts, Death, Delivery, Lease, LeaseKey, LeaseOutcome, Retry, Settled, TaskQueue,
};
use tokio_util::sync::CancellationToken;

use crate::broker::{SOON, wait_for};

/// How long nothing has to happen to be taken for nothing.
const QUIET: Duration = Duration::from_millis(400);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

pub fn task(number: usize) -> Task {
    Task::new(format!("PROJ-{number}").parse().unwrap())
}

pub async fn publish(queue: &Arc<dyn TaskQueue>, count: usize) -> Vec<Task> {
    let tasks: Vec<Task> = (1..=count).map(task).collect();
    for task in &tasks {
        queue.publish(task).await.unwrap();
    }
    tasks
}

pub fn lease_key() -> LeaseKey {
    lease_key_of("acme/shop", "ai/PROJ-1")
}

pub fn lease_key_of(repository: &str, branch: &str) -> LeaseKey {
    LeaseKey { repository: repository.parse().unwrap(), branch: branch.parse().unwrap() }
}

pub fn retry(after: Duration, counts: Counts) -> Retry {
    Retry { after, counts, reason: "the model is busy".to_owned() }
}

pub fn death(reason: &str) -> Death {
    Death { reason: reason.to_owned(), step: Some("publish".to_owned()) }
}

/// A consumer that consumes again when its subscription has ended, as a worker does.
pub struct Hands {
    queue: Arc<dyn TaskQueue>,
    consumer: Box<dyn Consumer>,
}

impl Hands {
    pub async fn of(queue: &Arc<dyn TaskQueue>) -> Self {
        Self { queue: queue.clone(), consumer: queue.consume().await.unwrap() }
    }

    pub async fn next(&mut self) -> Delivery {
        self.next_within(SOON).await
    }

    pub async fn next_within(&mut self, limit: Duration) -> Delivery {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.consumer.next()).await {
                Ok(Some(delivery)) => return delivery,
                Ok(None) => match self.queue.consume().await {
                    Ok(consumer) => self.consumer = consumer,
                    Err(error) => {
                        assert!(Instant::now() < deadline, "no consumer within {limit:?}: {error}");
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                },
                Err(_) => panic!("no delivery within {limit:?}"),
            }
        }
    }

    /// The next delivery, acked; its message id.
    pub async fn ack_next(&mut self) -> String {
        let delivery = self.next().await;
        let id = delivery.info.message_id.clone().unwrap();
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        id
    }

    /// Parks the next delivery; its message id where it has one.
    pub async fn bury_next(&mut self, reason: &str) -> Option<String> {
        let delivery = self.next().await;
        let id = delivery.info.message_id.clone();
        assert_eq!(delivery.dead_letter(&death(reason)).await.unwrap(), Settled::Done);
        id
    }

    /// Nothing is delivered.
    pub async fn nothing(&mut self) {
        if let Ok(Some(delivery)) = tokio::time::timeout(QUIET, self.consumer.next()).await {
            panic!("a delivery that should not be there: {delivery:?}");
        }
    }

    pub fn consumer(&mut self) -> &mut dyn Consumer {
        self.consumer.as_mut()
    }
}

/// The ids of tasks, as deliveries show them.
pub fn ids(tasks: &[Task]) -> Vec<String> {
    tasks.iter().map(|task| task.id.to_string()).collect()
}

pub fn granted(outcome: LeaseOutcome) -> Lease {
    match outcome {
        LeaseOutcome::Granted(lease) => lease,
        LeaseOutcome::Held => panic!("the lease is held by another"),
    }
}

pub async fn is_held(queue: &Arc<dyn TaskQueue>) -> bool {
    matches!(queue.lease(&lease_key()).await.unwrap(), LeaseOutcome::Held)
}

/// Takes the lease as soon as it is free.
pub async fn lease_soon(queue: &Arc<dyn TaskQueue>) -> Lease {
    wait_for("the lease", async || match queue.lease(&lease_key()).await.unwrap() {
        LeaseOutcome::Granted(lease) => Some(lease),
        LeaseOutcome::Held => None,
    })
    .await
}

pub async fn cancelled(token: &CancellationToken) {
    tokio::time::timeout(SOON, token.cancelled()).await.expect("cancelled in time");
}

/// Waits until the backlog is `ready`, `delayed`, `dead`.
pub async fn wait_for_backlog(queue: &Arc<dyn TaskQueue>, ready: u64, delayed: u64, dead: u64) {
    let mut last = Backlog::default();
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        last = queue.backlog().await.unwrap();
        if (last.ready, last.delayed, last.dead) == (ready, delayed, dead) {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    panic!("waited {SOON:?} for {ready} ready, {delayed} delayed, {dead} dead; it is {last:?}");
}

/// No task is anywhere, and none comes.
pub async fn empty(queue: &Arc<dyn TaskQueue>) {
    wait_for_backlog(queue, 0, 0, 0).await;
    Hands::of(queue).await.nothing().await;
}
