//! Dead letters: looking at them, putting them back, throwing them away.

use jiff::Timestamp;
use jira_agent::queue::{Counts, DeadLetter, Settled};

use super::act::{Hands, death, empty, ids, publish, retry, task, wait_for_backlog};
use super::stage::{Shown, Stage, TIERS};

pub async fn a_dead_letter_shows_what_died_why_where_and_when(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let first_published = {
        let delivery = hands.next().await;
        let first_published = delivery.info.first_published;
        assert_eq!(delivery.retry(retry(TIERS[0], Counts::Attempt)).await.unwrap(), Settled::Done);
        first_published
    };
    let delivery = hands.next().await;
    assert_eq!(delivery.retry(retry(TIERS[0], Counts::Crash)).await.unwrap(), Settled::Done);
    let start = Timestamp::now();
    assert!(hands.bury_next("no such repository: „acme/shöp“").await.is_some());
    wait_for_backlog(&queue, 0, 0, 1).await;
    let letters = stage.client().await.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.id, tasks[0].id.to_string());
    assert_eq!(letter.body, tasks[0].to_json());
    assert_eq!(letter.reason.as_deref(), Some("no such repository: „acme/shöp“"));
    assert_eq!(letter.step.as_deref(), Some("publish"));
    assert_eq!((letter.info.attempt, letter.info.crashes), (2, 1));
    assert_eq!(letter.info.message_id, Some(tasks[0].id.to_string()));
    assert_eq!(letter.info.first_published, first_published);
    let died_at = letter.died_at.unwrap();
    // Some servers keep milliseconds.
    assert!(died_at.as_millisecond() >= start.as_millisecond() && died_at <= Timestamp::now(), "{died_at}");
    hands.nothing().await;
    Ok(())
}

pub async fn a_dead_letter_counts_the_death_that_was_the_last(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for _ in 1..3 {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(TIERS[0], Counts::Crash)).await.unwrap(), Settled::Done);
    }
    let mut delivery = hands.next().await;
    delivery.info.crashes += 1;
    assert_eq!(delivery.dead_letter(&death("the worker died 3 times")).await.unwrap(), Settled::Done);
    wait_for_backlog(&queue, 0, 0, 1).await;
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!((letters[0].info.attempt, letters[0].info.crashes), (1, 3));
    Ok(())
}

pub async fn letters_are_listed_oldest_first_and_no_more_than_asked(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 5).await);
    let mut hands = Hands::of(&queue).await;
    for _ in &tasks {
        hands.bury_next("no such repository").await;
    }
    wait_for_backlog(&queue, 0, 0, 5).await;
    let listed = |letters: Vec<DeadLetter>| letters.into_iter().map(|letter| letter.id).collect::<Vec<_>>();
    assert_eq!(listed(queue.dead_letters(3).await.unwrap()), tasks[..3]);
    wait_for_backlog(&queue, 0, 0, 5).await;
    assert_eq!(listed(queue.dead_letters(100).await.unwrap()), tasks);
    wait_for_backlog(&queue, 0, 0, 5).await;
    assert_eq!(queue.dead_letters(0).await.unwrap(), []);
    Ok(())
}

pub async fn looking_at_letters_takes_nothing_away(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    stage.put(b"not a task").await;
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    hands.bury_next("it is no task").await;
    hands.bury_next("no such repository").await;
    wait_for_backlog(&queue, 0, 0, 2).await;
    let first = queue.dead_letters(10).await.unwrap();
    assert_eq!(first.len(), 2);
    for _ in 0..25 {
        assert_eq!(queue.dead_letters(10).await.unwrap().len(), 2);
    }
    let last = queue.dead_letters(10).await.unwrap();
    let shown = |letters: &[DeadLetter]| {
        let shown = |letter: &DeadLetter| (letter.id.clone(), letter.reason.clone(), letter.died_at);
        letters.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(shown(&last), shown(&first));
    wait_for_backlog(&queue, 0, 0, 2).await;
    Ok(())
}

pub async fn a_letter_that_was_looked_at_can_be_replayed_at_once(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let mut hands = Hands::of(&queue).await;
    for number in 1..=5 {
        queue.publish(&task(number)).await.unwrap();
        let id = hands.bury_next("no such repository").await.unwrap();
        wait_for_backlog(&queue, 0, 0, 1).await;
        assert_eq!(queue.dead_letters(10).await.unwrap().len(), 1);
        assert!(other.replay(&id, "ann").await.unwrap(), "letter {number}");
        assert_eq!(hands.ack_next().await, id);
    }
    Ok(())
}

pub async fn a_replayed_letter_is_the_same_task_at_its_first_attempt(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    for counts in [Counts::Attempt, Counts::Crash, Counts::Wait] {
        let delivery = hands.next().await;
        assert_eq!(delivery.retry(retry(TIERS[0], counts)).await.unwrap(), Settled::Done);
    }
    // Twice: a replayed task may die again.
    for by in ["ann", "bob"] {
        let id = hands.bury_next("no such repository").await.unwrap();
        wait_for_backlog(&queue, 0, 0, 1).await;
        assert!(queue.replay(&id, by).await.unwrap());
        let again = hands.next().await;
        let info = &again.info;
        assert_eq!(info.message_id, Some(tasks[0].id.to_string()));
        assert_eq!((info.attempt, info.waits, info.crashes), (1, 0, 0));
        assert_eq!((info.delivery_count, info.redelivered), (0, false));
        assert_eq!(info.replayed_by.as_deref(), Some(by));
        assert_eq!(again.body, tasks[0].to_json());
        wait_for_backlog(&queue, 0, 0, 0).await;
        assert_eq!(again.retry(retry(TIERS[0], Counts::Attempt)).await.unwrap(), Settled::Done);
    }
    let last = hands.next().await;
    assert_eq!(last.info.replayed_by.as_deref(), Some("bob"), "kept on its way");
    assert_eq!(last.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn a_letter_without_an_id_can_be_replayed(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    stage.put(b"PROJ 1").await;
    let mut hands = Hands::of(&queue).await;
    assert_eq!(hands.bury_next("it is no task").await, None);
    wait_for_backlog(&queue, 0, 0, 1).await;
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(letters[0].id, DeadLetter::id_of(None, b"PROJ 1"));
    assert!(queue.replay(&letters[0].id, "ann").await.unwrap());
    let again = hands.next().await;
    assert_eq!((&again.body[..], &again.info.message_id), (&b"PROJ 1"[..], &None));
    assert_eq!(again.info.replayed_by.as_deref(), Some("ann"));
    Ok(())
}

pub async fn an_unknown_letter_is_neither_replayed_nor_discarded(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 2).await);
    let mut hands = Hands::of(&queue).await;
    hands.bury_next("no such repository").await;
    // What it may have fetched unasked goes back.
    hands.consumer().stop().await;
    wait_for_backlog(&queue, 1, 0, 1).await;
    for unknown in ["", "*", "01K9ZW4R7M1S8T3V5X7Z9B1D3F", &tasks[1]] {
        assert!(!queue.replay(unknown, "ann").await.unwrap(), "`{unknown}`");
        assert!(!queue.discard(unknown).await.unwrap(), "`{unknown}`");
    }
    wait_for_backlog(&queue, 1, 0, 1).await;
    Ok(())
}

pub async fn a_discarded_letter_is_gone_and_the_others_stay(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let tasks = ids(&publish(&queue, 3).await);
    let mut hands = Hands::of(&queue).await;
    for _ in &tasks {
        hands.bury_next("no such repository").await;
    }
    wait_for_backlog(&queue, 0, 0, 3).await;
    assert!(queue.discard(&tasks[1]).await.unwrap());
    assert!(!queue.discard(&tasks[1]).await.unwrap());
    wait_for_backlog(&queue, 0, 0, 2).await;
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(letters.iter().map(|letter| &letter.id).collect::<Vec<_>>(), [&tasks[0], &tasks[2]]);
    hands.nothing().await;
    Ok(())
}

pub async fn two_replays_at_once_leave_one_task(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let mut hands = Hands::of(&queue).await;
    for number in 1..=5 {
        queue.publish(&task(number)).await.unwrap();
        let id = hands.bury_next("no such repository").await.unwrap();
        wait_for_backlog(&queue, 0, 0, 1).await;
        let (one, two) = tokio::join!(queue.replay(&id, "ann"), other.replay(&id, "bob"));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one != two, "one of the two did it: {one} {two}");
        let again = hands.next().await;
        assert_eq!(again.info.replayed_by.as_deref(), Some(if one { "ann" } else { "bob" }));
        assert_eq!(again.ack().await.unwrap(), Settled::Done);
        hands.nothing().await;
        wait_for_backlog(&queue, 0, 0, 0).await;
    }
    Ok(())
}

/// A crash between a publish and its ack leaves the same letter twice.
async fn two_copies(stage: &dyn Stage) -> (Hands, String) {
    let queue = stage.client().await;
    let task = task(1);
    queue.publish(&task).await.unwrap();
    queue.publish(&task).await.unwrap();
    let mut hands = Hands::of(&queue).await;
    for _ in 0..2 {
        let delivery = hands.next().await;
        assert_eq!(delivery.info.message_id, Some(task.id.to_string()));
        assert_eq!(delivery.dead_letter(&death("no such repository")).await.unwrap(), Settled::Done);
    }
    let letters = queue.dead_letters(10).await.unwrap();
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter.id == task.id.to_string()));
    (hands, task.id.to_string())
}

pub async fn copies_of_a_letter_become_one_task(stage: &dyn Stage) -> Shown {
    let (mut hands, id) = two_copies(stage).await;
    let queue = stage.client().await;
    assert!(queue.replay(&id, "ann").await.unwrap());
    assert_eq!(hands.ack_next().await, id);
    assert!(!queue.replay(&id, "ann").await.unwrap());
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn copies_of_a_letter_are_discarded_together(stage: &dyn Stage) -> Shown {
    let (hands, id) = two_copies(stage).await;
    let queue = stage.client().await;
    assert!(queue.discard(&id).await.unwrap());
    assert!(!queue.discard(&id).await.unwrap());
    drop(hands);
    empty(&queue).await;
    Ok(())
}
