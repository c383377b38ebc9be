//! The queue on a real RabbitMQ.

mod adopt;
mod connection;
mod dead_letters;
mod delivery;
mod events;
mod frozen;
mod lease;
mod orders;
mod returns;
mod settle;
mod topology;

use jira_agent::domain::{BranchName, Task};
use jira_agent::queue::{Consumer, Delivery, LeaseKey};
use tokio_util::sync::CancellationToken;

use crate::broker::SOON;

fn task() -> Task {
    Task::new("PROJ-1".parse().unwrap())
}

fn lease_key() -> LeaseKey {
    let branch: BranchName = "ai/PROJ-1".parse().unwrap();
    LeaseKey { repository: "acme/shop".parse().unwrap(), branch }
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    let next = tokio::time::timeout(SOON, consumer.next()).await;
    next.expect("a delivery in time").expect("a delivery")
}

async fn end_of(consumer: &mut Box<dyn Consumer>) {
    let next = tokio::time::timeout(SOON, consumer.next()).await;
    assert!(next.expect("an end in time").is_none());
}

async fn cancelled(token: &CancellationToken) {
    tokio::time::timeout(SOON, token.cancelled()).await.expect("cancelled in time");
}
