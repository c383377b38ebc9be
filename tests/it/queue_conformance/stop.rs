//! Ending: of a wait, of a consumer, of a client.

use std::collections::BTreeSet;
use std::time::Duration;

use jira_agent::queue::Settled;

use super::act::{Hands, empty, ids, publish, task};
use super::stage::{Shown, Stage};
use crate::broker::{SOON, wait_for};

pub async fn a_stopped_consumer_keeps_what_it_holds_and_takes_no_more(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 2).await);
    let mut hands = Hands::of(&queue).await;
    let held = hands.next().await;
    hands.consumer().stop().await;
    hands.consumer().stop().await;
    assert!(tokio::time::timeout(SOON, hands.consumer().next()).await.unwrap().is_none());
    assert!(!held.lost().is_cancelled());
    let mut other = Hands::of(&stage.client().await).await;
    assert_eq!(other.ack_next().await, tasks[1]);
    other.nothing().await;
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
    drop((hands, other));
    empty(&queue).await;
    Ok(())
}

pub async fn what_was_fetched_but_not_asked_for_goes_back_uncounted(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 1).await);
    let mut other = Hands::of(&stage.client().await).await;
    for _ in 0..5 {
        // Whether it is fetched unasked is the transport's affair; this one may have been.
        let held = other.next().await;
        let mut hands = Hands::of(&queue).await;
        assert_eq!(held.release("the worker stops").await.unwrap(), Settled::Done);
        hands.consumer().stop().await;
    }
    let delivery = other.next().await;
    assert_eq!(delivery.info.message_id.as_ref(), Some(&tasks[0]));
    assert_eq!((delivery.info.attempt, delivery.info.delivery_count), (1, 0));
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    drop(other);
    empty(&queue).await;
    Ok(())
}

pub async fn asking_for_the_next_can_be_given_up_at_any_moment(stage: &dyn Stage) -> Shown {
    const TASKS: usize = 60;
    let queue = stage.client().await;
    let mut hands = Hands::of(&queue).await;
    let publisher = stage.client().await;
    let publishing = tokio::spawn(async move {
        let mut tasks = Vec::new();
        for number in 1..=TASKS {
            let task = task(number);
            publisher.publish(&task).await.unwrap();
            tasks.push(task);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tasks
    });
    let mut seen = Vec::new();
    let mut given_up = 0;
    // Moments that fall everywhere between "not begun" and "done", and the same ones in every run.
    let mut microseconds: u64 = 1;
    while given_up < 200 {
        microseconds = (microseconds * 48_271) % 8_191;
        let limit = Duration::from_micros(microseconds);
        match tokio::time::timeout(limit, hands.consumer().next()).await {
            Ok(next) => {
                let delivery = next.expect("the subscription goes on");
                assert_eq!(delivery.info.delivery_count, 0);
                seen.push(delivery.info.message_id.clone().unwrap());
                assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
            }
            Err(_) => given_up += 1,
        }
    }
    let tasks = ids(&publishing.await.unwrap());
    while seen.len() < TASKS {
        seen.push(hands.ack_next().await);
    }
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), tasks.iter().collect::<BTreeSet<_>>());
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn closing_twice_is_fine_and_leaves_other_processes_alone(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.process().await?, stage.process().await?);
    let tasks = ids(&publish(&queue, 1).await);
    let mut hands = Hands::of(&other).await;
    let delivery = hands.next().await;
    queue.close().await;
    queue.close().await;
    assert!(!delivery.lost().is_cancelled());
    assert_eq!(delivery.info.message_id.as_ref(), Some(&tasks[0]));
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    let task = task(2);
    wait_for("the other's publish", async || other.publish(&task).await.ok()).await;
    assert_eq!(hands.ack_next().await, task.id.to_string());
    Ok(())
}
