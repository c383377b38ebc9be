//! The lease: one holder at a time, gone with its connection.

use jira_agent::queue::{Lease, LeaseOutcome, TaskQueue};

use super::{cancelled, lease_key, next, task};
use crate::broker::{Broker, wait_for};

fn granted(outcome: LeaseOutcome) -> Lease {
    match outcome {
        LeaseOutcome::Granted(lease) => lease,
        LeaseOutcome::Held => panic!("the lease is held by another"),
    }
}

fn is_held(outcome: &LeaseOutcome) -> bool {
    matches!(outcome, LeaseOutcome::Held)
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_is_given_back() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let lease = granted(delivery.lease(&lease_key()).await.unwrap());
    assert_eq!(*lease.key(), lease_key());
    assert!(is_held(&queue.lease(&lease_key()).await.unwrap()));
    assert!(is_held(&delivery.lease(&lease_key()).await.unwrap()), "not even twice on one connection");
    let mut other = lease_key();
    other.branch = "ai/PROJ-2".parse().unwrap();
    drop(granted(queue.lease(&other).await.unwrap()));
    lease.release().await;
    let second = granted(queue.lease(&lease_key()).await.unwrap());
    assert!(is_held(&delivery.lease(&lease_key()).await.unwrap()));
    assert!(!second.lost().is_cancelled());
    assert!(!delivery.lost().is_cancelled(), "contention harms no delivery");
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn a_dropped_lease_is_given_back_while_its_connection_lives() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    drop(granted(delivery.lease(&lease_key()).await.unwrap()));
    let taken = wait_for("the dropped lease", async || match queue.lease(&lease_key()).await.unwrap() {
        LeaseOutcome::Granted(lease) => Some(lease),
        LeaseOutcome::Held => None,
    });
    taken.await.release().await;
    assert!(!delivery.lost().is_cancelled());
}

#[tokio::test]
async fn a_lease_without_a_delivery_ends_with_its_own_connection() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let lease = granted(queue.lease(&lease_key()).await.unwrap());
    broker.close_connections("test (lease)").await;
    cancelled(&lease.lost()).await;
    let second = granted(queue.lease(&lease_key()).await.unwrap());
    // The old holder lets go late, and harms nobody.
    lease.release().await;
    assert!(is_held(&queue.lease(&lease_key()).await.unwrap()));
    second.release().await;
}

#[tokio::test]
async fn a_deliverys_lease_is_lost_together_with_the_delivery() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let lease = granted(delivery.lease(&lease_key()).await.unwrap());
    broker.close_connections("test (consuming)").await;
    cancelled(&lease.lost()).await;
    cancelled(&delivery.lost()).await;
    // Whoever gets the task next gets its lease.
    let mut consumer = queue.consume().await.unwrap();
    let again = next(&mut consumer).await;
    granted(again.lease(&lease_key()).await.unwrap()).release().await;
}
