//! What is lost comes back, and its holder knows.

use std::time::{Duration, Instant};

use jira_agent::queue::{Counts, Settled};

use super::act::{
    Hands, cancelled, death, empty, ids, is_held, lease_soon, publish, retry, wait_for_backlog,
};
use super::holder::{Holder, Takes};
use super::stage::{Shown, Stage, TIERS};

/// How soon a worker has to know that it lost its task.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

pub async fn a_dropped_delivery_comes_back(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let mut tasks = ids(&publish(&queue, 2).await);
    let mut hands = Hands::of(&queue).await;
    drop(hands.next().await);
    let mut seen = Vec::new();
    for _ in &tasks {
        let delivery = hands.next().await;
        let id = delivery.info.message_id.clone().unwrap();
        if id == tasks[0] {
            assert!(delivery.info.redelivered);
        }
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        seen.push(id);
    }
    // Before the second or behind it.
    seen.sort();
    tasks.sort();
    assert_eq!(seen, tasks);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn a_living_process_that_lets_go_counts_as_no_death(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for _ in 0..3 {
        let delivery = hands.next().await;
        assert_eq!(delivery.info.delivery_count, 0);
        drop(delivery);
    }
    for _ in 0..3 {
        let delivery = hands.next().await;
        assert_eq!(delivery.info.delivery_count, 0);
        drop(hands);
        cancelled(&delivery.lost()).await;
        hands = Hands::of(&queue).await;
    }
    assert_eq!(hands.next().await.info.delivery_count, 0);
    Ok(())
}

pub async fn a_delivery_whose_consumer_is_gone_settles_nothing_and_comes_back(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    for settled in ["ack", "retry", "release", "dead letter"] {
        let mut hands = Hands::of(&queue).await;
        let delivery = hands.next().await;
        drop(hands);
        cancelled(&delivery.lost()).await;
        let answer = match settled {
            "ack" => delivery.ack().await,
            "retry" => delivery.retry(retry(TIERS[0], Counts::Attempt)).await,
            "release" => delivery.release("the worker stops").await,
            _ => delivery.dead_letter(&death("no such repository")).await,
        };
        assert_eq!(answer.unwrap(), Settled::WillBeRedelivered, "{settled}");
        wait_for_backlog(&queue, 1, 0, 0).await;
    }
    let mut hands = Hands::of(&queue).await;
    let again = hands.next().await;
    assert_eq!((again.info.attempt, again.info.waits, again.info.crashes), (1, 0, 0));
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn a_dead_holders_task_comes_back_and_its_death_is_counted(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = publish(&queue, 1).await;
    let holder = Holder::start(stage, Takes::TaskAndLease).await?;
    let mut hands = Hands::of(&queue).await;
    hands.nothing().await;
    holder.kill().await;
    let killed = Instant::now();
    let delivery = hands.next().await;
    assert!(killed.elapsed() < stage.known_dead_within(), "{:?}", killed.elapsed());
    assert_eq!(delivery.info.message_id, Some(tasks[0].id.to_string()));
    assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (1, true));
    assert_eq!((delivery.info.attempt, delivery.info.crashes), (1, 0), "the worker judges, not the queue");
    // The lease went the same way.
    drop(lease_soon(&queue).await);
    // What was settled is a new message, and nobody died over that.
    assert_eq!(delivery.retry(retry(TIERS[0], Counts::Wait)).await.unwrap(), Settled::Done);
    let again = hands.next().await;
    assert_eq!((again.info.delivery_count, again.info.redelivered), (0, false));
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn every_death_is_counted_until_the_task_is_settled(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    for _ in 0..2 {
        Holder::start(stage, Takes::Task).await?.kill().await;
    }
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (2, true));
    assert_eq!(delivery.release("the worker stops").await.unwrap(), Settled::Done);
    assert_eq!(hands.next().await.info.delivery_count, 0);
    Ok(())
}

pub async fn a_holder_that_was_frozen_knows_its_loss_and_retries_nothing(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut holder = Holder::start(stage, Takes::Task).await?;
    holder.freeze();
    let frozen = Instant::now();
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    assert!(frozen.elapsed() < stage.known_dead_within(), "{:?}", frozen.elapsed());
    holder.thaw();
    let known: u64 = holder.asked("know").await.parse().unwrap();
    assert!(u128::from(known) < KNOWN_WITHIN.as_millis(), "{known} ms");
    assert_eq!(holder.asked("retry").await, format!("{:?}", Settled::WillBeRedelivered));
    assert!(!delivery.lost().is_cancelled());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn a_holder_that_was_frozen_cannot_give_back_the_next_holders_lease(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let mut holder = Holder::start(stage, Takes::Lease).await?;
    holder.freeze();
    let lease = lease_soon(&queue).await;
    holder.thaw();
    assert_eq!(holder.asked("give back").await, "given back");
    assert!(is_held(&other).await);
    assert!(!lease.lost().is_cancelled());
    lease.release().await;
    Ok(())
}
