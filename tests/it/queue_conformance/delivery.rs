//! Publishing and consuming.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jira_agent::domain::TaskBody;
use jira_agent::queue::Settled;
use tokio::sync::Mutex;

use super::act::{Hands, empty, granted, ids, is_held, lease_key, publish, task};
use super::stage::{Shown, Stage};
use crate::broker::wait_for;

/// How long a consumer that waits may have to wait for a task that is there.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

pub async fn a_task_is_delivered_once_and_forgotten_when_acked(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let task = task(1);
    queue.publish(&task).await.unwrap();
    let mut hands = Hands::of(&other).await;
    let delivery = hands.next().await;
    assert_eq!(TaskBody::parse(&delivery.body).unwrap().task, task);
    let info = &delivery.info;
    assert_eq!(info.message_id, Some(task.id.to_string()));
    assert_eq!((info.attempt, info.waits, info.crashes), (1, 0, 0));
    assert_eq!((info.delivery_count, info.redelivered), (0, false));
    assert_eq!((&info.traceparent, &info.replayed_by), (&None, &None));
    assert!(info.first_published.is_some());
    assert!(!delivery.lost().is_cancelled());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn tasks_come_in_the_order_in_which_they_were_published(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = publish(&queue, 20).await;
    let mut hands = Hands::of(&queue).await;
    for id in ids(&tasks) {
        assert_eq!(hands.ack_next().await, id);
    }
    Ok(())
}

pub async fn a_consumer_gets_one_task_at_a_time(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 2).await);
    let mut hands = Hands::of(&queue).await;
    let first = hands.next().await;
    hands.nothing().await;
    // Another one is not kept from working by that.
    let mut other = Hands::of(&queue).await;
    assert_eq!(other.ack_next().await, tasks[1]);
    publish(&queue, 1).await;
    first.ack().await.unwrap();
    drop(other);
    hands.ack_next().await;
    Ok(())
}

pub async fn many_consumers_share_the_tasks_and_none_comes_twice(stage: &dyn Stage) -> Shown {
    const TASKS: usize = 200;
    let queue = stage.client().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut workers = Vec::new();
    for _ in 0..4 {
        let mut hands = Hands::of(&stage.client().await).await;
        let seen = seen.clone();
        workers.push(tokio::spawn(async move {
            loop {
                let delivery = hands.next_within(Duration::from_secs(60)).await;
                let id = delivery.info.message_id.clone().unwrap();
                assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
                seen.lock().await.push(id);
            }
        }));
    }
    let tasks = ids(&publish(&queue, TASKS).await);
    wait_for("all tasks", async || (seen.lock().await.len() >= TASKS).then_some(())).await;
    for worker in workers {
        assert!(!worker.is_finished(), "a worker failed");
        worker.abort();
    }
    empty(&queue).await;
    let seen = seen.lock().await;
    assert_eq!(seen.len(), TASKS, "a task came twice");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), tasks.iter().collect::<BTreeSet<_>>());
    Ok(())
}

pub async fn a_consumer_that_waits_gets_a_task_soon(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let mut hands = Hands::of(&queue).await;
    hands.nothing().await;
    for number in 1..=3 {
        let waiting = tokio::spawn(async move {
            let id = hands.ack_next().await;
            (hands, id, Instant::now())
        });
        let task = task(number);
        other.publish(&task).await.unwrap();
        let published = Instant::now();
        let (back, id, seen) = waiting.await.unwrap();
        hands = back;
        assert_eq!(id, task.id.to_string());
        assert!(seen.saturating_duration_since(published) < SEEN_WITHIN);
    }
    Ok(())
}

pub async fn what_is_held_stays_held_while_its_holder_lives(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    let lease = granted(queue.lease(&lease_key()).await.unwrap());
    let mut others = Hands::of(&other).await;
    let start = Instant::now();
    while start.elapsed() < stage.lease_timeout() * 3 / 2 {
        others.nothing().await;
        assert!(is_held(&other).await, "the lease after {:?}", start.elapsed());
    }
    assert!(!lease.lost().is_cancelled() && !delivery.lost().is_cancelled());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    lease.release().await;
    drop((hands, others));
    empty(&queue).await;
    Ok(())
}
