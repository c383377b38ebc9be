//! A server that goes away and comes back.

use std::collections::BTreeMap;

use jira_agent::queue::{Counts, Settled};

use super::act::{Hands, granted, ids, lease_key, lease_soon, publish, retry, wait_for_backlog};
use super::stage::{Shown, Stage, TIERS};
use crate::broker::wait_for;

pub async fn a_restart_of_the_server_loses_nothing_and_counts_no_death(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 5).await);
    let mut hands = Hands::of(&queue).await;
    hands.bury_next("no such repository").await;
    let delivery = hands.next().await;
    assert_eq!(delivery.retry(retry(TIERS[1], Counts::Attempt)).await.unwrap(), Settled::Done);
    let held = hands.next().await;
    let lease = granted(held.lease(&lease_key()).await.unwrap());
    stage.restart().await?;
    let held = held.ack().await;
    lease.release().await;
    // A holder that the restart left in peace may settle; the task of any other comes again.
    let mut expected: BTreeMap<&str, u32> = [(&*tasks[1], 2), (&*tasks[3], 1), (&*tasks[4], 1)].into();
    if held.is_err() || matches!(held, Ok(Settled::WillBeRedelivered)) {
        expected.insert(&tasks[2], 1);
    }
    wait_for("the server", async || queue.backlog().await.ok()).await;
    lease_soon(&queue).await.release().await;
    // The same worker goes on.
    let mut seen = BTreeMap::new();
    for _ in 0..expected.len() {
        let delivery = hands.next().await;
        assert_eq!(delivery.info.delivery_count, 0, "{:?}", delivery.info);
        seen.insert(delivery.info.message_id.clone().unwrap(), delivery.info.attempt);
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    }
    let seen: BTreeMap<&str, u32> = seen.iter().map(|(id, attempt)| (id.as_str(), *attempt)).collect();
    assert_eq!(seen, expected);
    hands.nothing().await;
    wait_for_backlog(&queue, 0, 0, 1).await;
    assert!(queue.replay(&tasks[0], "ann").await.unwrap());
    assert_eq!(hands.ack_next().await, tasks[0]);
    Ok(())
}
