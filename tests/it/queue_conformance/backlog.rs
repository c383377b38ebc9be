//! How many tasks are where.

use jira_agent::queue::{Backlog, Counts, Settled};

use super::act::{Hands, death, publish, retry, wait_for_backlog};
use super::stage::{Shown, Stage, TIERS};
use crate::broker::wait_for;

pub async fn the_backlog_says_where_every_task_waits(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    wait_for_backlog(&queue, 0, 0, 0).await;
    publish(&queue, 4).await;
    stage.put(b"PROJ-5").await;
    wait_for_backlog(&queue, 5, 0, 0).await;
    let mut hands = Hands::of(&queue).await;
    let held = hands.next().await;
    hands.consumer().stop().await;
    wait_for_backlog(&queue, 4, 0, 0).await;
    assert_eq!(held.retry(retry(TIERS[1], Counts::Attempt)).await.unwrap(), Settled::Done);
    wait_for_backlog(&queue, 4, 1, 0).await;
    let mut hands = Hands::of(&queue).await;
    let held = hands.next().await;
    hands.consumer().stop().await;
    assert_eq!(held.dead_letter(&death("no such repository")).await.unwrap(), Settled::Done);
    // The delayed one may be there again, and may need a worker for that.
    let counted = |backlog: Backlog| (backlog.ready + backlog.delayed, backlog.dead);
    wait_for("the letter", async || (counted(queue.backlog().await.unwrap()) == (4, 1)).then_some(())).await;
    let letter = queue.dead_letters(1).await.unwrap().remove(0).id;
    assert!(queue.discard(&letter).await.unwrap());
    wait_for("its end", async || (counted(queue.backlog().await.unwrap()) == (4, 0)).then_some(())).await;
    let mut hands = Hands::of(&queue).await;
    for _ in 0..4 {
        assert_eq!(hands.next().await.ack().await.unwrap(), Settled::Done);
    }
    wait_for_backlog(&queue, 0, 0, 0).await;
    Ok(())
}

pub async fn the_backlog_counts_what_workers_hold(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    if stage.knows_what_is_held().is_err() {
        assert_eq!(queue.backlog().await.unwrap().held, None, "what is not known is not said to be zero");
    }
    stage.knows_what_is_held()?;
    publish(&queue, 3).await;
    let mut all = Vec::new();
    for held in 1..=2 {
        let mut hands = Hands::of(&stage.client().await).await;
        let delivery = hands.next().await;
        all.push((hands, delivery));
        let expected = Backlog { ready: 3 - held, held: Some(held), delayed: 0, dead: 0 };
        assert_eq!(queue.backlog().await.unwrap(), expected);
    }
    let (mut hands, delivery) = all.remove(0);
    hands.consumer().stop().await;
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    let expected = Backlog { ready: 1, held: Some(1), delayed: 0, dead: 0 };
    assert_eq!(queue.backlog().await.unwrap(), expected);
    drop(all);
    let expected = Backlog { ready: 2, held: Some(0), delayed: 0, dead: 0 };
    wait_for("the dropped one", async || (queue.backlog().await.unwrap() == expected).then_some(())).await;
    Ok(())
}
