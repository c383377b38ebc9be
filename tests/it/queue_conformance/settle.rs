//! Giving tasks back.

use std::time::{Duration, Instant};

use jira_agent::queue::{Counts, Settled};

use super::act::{Hands, empty, ids, publish, retry};
use super::stage::{Shown, Stage, TIERS};

pub async fn a_retried_task_waits_at_least_as_long_as_asked(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for milliseconds in [1, 300, 301, 900] {
        let after = Duration::from_millis(milliseconds);
        let delivery = hands.next().await;
        let start = Instant::now();
        assert_eq!(delivery.retry(retry(after, Counts::Wait)).await.unwrap(), Settled::Done);
        let again = hands.next().await;
        // Clocks of servers tick in milliseconds.
        assert!(start.elapsed() + Duration::from_millis(2) >= after, "{after:?}: {:?}", start.elapsed());
        assert_eq!(again.release("the worker stops").await.unwrap(), Settled::Done);
    }
    Ok(())
}

pub async fn a_long_wait_holds_up_no_short_one(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 2).await);
    let mut hands = Hands::of(&queue).await;
    for after in [TIERS[1], TIERS[0]] {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(after, Counts::Attempt)).await.unwrap(), Settled::Done);
    }
    assert_eq!(hands.ack_next().await, tasks[1]);
    assert_eq!(hands.ack_next().await, tasks[0]);
    Ok(())
}

pub async fn a_retry_counts_as_what_it_was(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for (counts, attempt, waits, crashes) in [
        (Counts::Wait, 1, 1, 0),
        (Counts::Wait, 1, 2, 0),
        (Counts::Crash, 1, 2, 1),
        (Counts::Crash, 1, 2, 2),
        (Counts::Wait, 1, 3, 2),
        (Counts::Attempt, 2, 0, 0),
        (Counts::Attempt, 3, 0, 0),
    ] {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(TIERS[0], counts)).await.unwrap(), Settled::Done);
        let again = hands.next().await;
        let info = &again.info;
        assert_eq!((info.attempt, info.waits, info.crashes), (attempt, waits, crashes), "after {counts:?}");
        assert_eq!((info.delivery_count, info.redelivered), (0, false));
        // Without a word on the counters.
        assert_eq!(again.release("the worker stops").await.unwrap(), Settled::Done);
    }
    Ok(())
}

pub async fn a_retried_task_keeps_its_id_and_its_first_publish(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let mut delivery = hands.next().await;
    let first = delivery.info.first_published;
    assert!(first.is_some());
    for _ in 0..2 {
        assert_eq!(delivery.retry(retry(TIERS[0], Counts::Attempt)).await.unwrap(), Settled::Done);
        delivery = hands.next().await;
        assert_eq!(delivery.info.message_id, Some(tasks[0].id.to_string()));
        assert_eq!(delivery.info.first_published, first);
        assert_eq!(delivery.body, tasks[0].to_json());
    }
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn tasks_that_are_retried_alike_come_back_in_their_order(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 5).await);
    let mut hands = Hands::of(&queue).await;
    for _ in &tasks {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(TIERS[1], Counts::Attempt)).await.unwrap(), Settled::Done);
    }
    for id in tasks {
        assert_eq!(hands.ack_next().await, id);
    }
    Ok(())
}

pub async fn a_released_task_is_there_at_once_with_its_counters(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for counts in [Counts::Attempt, Counts::Crash, Counts::Wait] {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(TIERS[0], counts)).await.unwrap(), Settled::Done);
    }
    let delivery = hands.next().await;
    let before = delivery.info.clone();
    assert_eq!((before.attempt, before.waits, before.crashes), (2, 1, 1));
    let mut other = Hands::of(&stage.client().await).await;
    assert_eq!(delivery.release("the worker stops").await.unwrap(), Settled::Done);
    drop(hands);
    let again = other.next().await;
    assert_eq!(again.info, before);
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
    Ok(())
}
