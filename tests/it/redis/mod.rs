//! The queue on a real Redis.

mod answers;
mod connection;
mod delivery;
mod leases;
pub mod server;
mod ticket;

use jira_agent::domain::Task;
use jira_agent::queue::{Consumer, Delivery, LeaseKey};
use tokio_util::sync::CancellationToken;

use crate::broker::SOON;

fn task(key: &str) -> Task {
    Task::new(key.parse().unwrap())
}

fn lease_key() -> LeaseKey {
    LeaseKey { repository: "acme/shop".parse().unwrap(), branch: "ai/PROJ-1".parse().unwrap() }
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    let next = tokio::time::timeout(SOON, consumer.next()).await;
    next.expect("a delivery in time").expect("a delivery")
}

async fn cancelled(token: &CancellationToken) {
    tokio::time::timeout(SOON, token.cancelled()).await.expect("cancelled in time");
}
