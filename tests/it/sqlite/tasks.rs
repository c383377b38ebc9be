//! What becomes of a task in the file, and of what holds it.

use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jira_agent::domain::{EventKind, Order, Run, TaskBody};
use jira_agent::queue::{Counts, Death, LeaseKey, LeaseOutcome, Retry, Settled, TaskQueue as _};

use super::{Home, next, task, wait_for_backlog};
use crate::broker::{SOON, wait_for};

fn key() -> LeaseKey {
    LeaseKey { repository: "acme/shop".parse().unwrap(), branch: "ai/PROJ-1".parse().unwrap() }
}

#[tokio::test]
async fn a_bare_key_that_any_program_inserted_is_a_task() {
    let home = Home::new();
    let queue = home.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    let mut plain = home.plain().await;
    sqlx::query("INSERT INTO tasks (body) VALUES ('PROJ-7')").execute(&mut plain).await.unwrap();
    let bare = next(&mut consumer).await;
    assert_eq!(bare.body, "PROJ-7");
    assert_eq!((bare.info.message_id.clone(), bare.info.attempt, bare.info.redelivered), (None, 1, false));
    assert!(bare.info.first_published.is_some(), "the file says when it came");
    let body = TaskBody::parse(&bare.body).unwrap();
    assert_eq!(bare.normalise(&body.task).await.unwrap(), Settled::Done);
    let whole = next(&mut consumer).await;
    assert_eq!(whole.info.message_id, Some(body.task.id.to_string()));
    assert_eq!(whole.ack().await.unwrap(), Settled::Done);
    wait_for_backlog(&queue, [0; 4]).await;
}

#[tokio::test]
async fn a_task_that_another_process_published_starts_soon() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    let mut consumer = ours.consume().await.unwrap();
    let mut quickest = SOON;
    for _ in 0..4 {
        theirs.publish(&task()).await.unwrap();
        let published = Instant::now();
        let delivery = next(&mut consumer).await;
        quickest = quickest.min(published.elapsed());
        delivery.ack().await.unwrap();
    }
    // The others were slow because this machine is.
    assert!(quickest < Duration::from_millis(250), "{quickest:?}");
}

#[tokio::test]
async fn a_retried_task_comes_due_by_itself_with_its_counters() {
    let home = Home::new();
    let queue = home.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    for (counts, expected) in [
        (Counts::Attempt, (2, 0, 0)),
        (Counts::Wait, (2, 1, 0)),
        (Counts::Crash, (2, 1, 1)),
        (Counts::Attempt, (3, 0, 0)),
    ] {
        let delivery = next(&mut consumer).await;
        let begun = Instant::now();
        let retry = Retry { after: Duration::from_millis(1), counts, reason: "the model is busy".to_owned() };
        assert_eq!(delivery.retry(retry).await.unwrap(), Settled::Done);
        assert_eq!(queue.backlog().await.unwrap().delayed, 1);
        let again = next(&mut consumer).await;
        assert!(begun.elapsed() >= Duration::from_millis(300), "rounded up to the first tier");
        assert_eq!((again.info.attempt, again.info.waits, again.info.crashes), expected);
        assert_eq!((again.info.delivery_count, again.info.redelivered), (0, false));
        assert_eq!(again.release("for the next turn").await.unwrap(), Settled::Done);
    }
}

#[tokio::test]
async fn what_a_living_worker_drops_comes_back_at_once_and_counts_as_no_death() {
    let home = Home::new();
    let queue = home.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    for turn in 0..5 {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (0, turn > 0));
        drop(delivery);
    }
    let held = next(&mut consumer).await;
    drop(consumer);
    assert!(held.lost().is_cancelled());
    wait_for_backlog(&queue, [1, 0, 0, 0]).await;
    assert_eq!(held.ack().await.unwrap(), Settled::WillBeRedelivered);
    wait_for_backlog(&queue, [1, 0, 0, 0]).await;
}

#[tokio::test]
async fn a_consumer_that_is_given_up_while_it_takes_a_task_leaves_it_untouched() {
    let home = Home::new();
    let queue = home.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    queue.publish(&task()).await.unwrap();
    // Given up at every point at which it can wait.
    for polls in 1..20 {
        let given_up = {
            let mut next = std::pin::pin!(consumer.next());
            let mut left = polls;
            std::future::poll_fn(|context| {
                left -= 1;
                match next.as_mut().poll(context) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                    Poll::Ready(delivery) => Poll::Ready(delivery),
                }
            })
            .await
        };
        let Some(delivery) = given_up else {
            wait_for_backlog(&queue, [1, 0, 0, 0]).await;
            continue;
        };
        assert!(polls > 1 && !delivery.info.redelivered, "nobody was told of it before");
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        return;
    }
    panic!("no delivery after so many polls");
}

#[tokio::test]
async fn a_process_that_closes_gives_back_what_it_holds() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    ours.publish(&task()).await.unwrap();
    let mut consumer = ours.consume().await.unwrap();
    let held = next(&mut consumer).await;
    let LeaseOutcome::Granted(lease) = held.lease(&key()).await.unwrap() else { panic!("nobody has it") };
    assert!(matches!(theirs.lease(&key()).await.unwrap(), LeaseOutcome::Held));
    ours.close().await;
    assert!(held.lost().is_cancelled() && lease.lost().is_cancelled());
    let mut consumer = theirs.consume().await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!((again.info.delivery_count, again.info.redelivered), (0, true));
    assert!(matches!(again.lease(&key()).await.unwrap(), LeaseOutcome::Granted(_)));
}

#[tokio::test]
async fn a_lease_has_one_holder_and_ends_when_it_is_dropped() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    let LeaseOutcome::Granted(lease) = ours.lease(&key()).await.unwrap() else { panic!("nobody has it") };
    assert!(matches!(ours.lease(&key()).await.unwrap(), LeaseOutcome::Held));
    assert!(matches!(theirs.lease(&key()).await.unwrap(), LeaseOutcome::Held));
    drop(lease);
    let taken = wait_for("the dropped lease", async || match theirs.lease(&key()).await.unwrap() {
        LeaseOutcome::Granted(lease) => Some(lease),
        LeaseOutcome::Held => None,
    });
    taken.await.release().await;
    assert!(matches!(ours.lease(&key()).await.unwrap(), LeaseOutcome::Granted(_)));
}

#[tokio::test]
async fn a_lease_goes_with_its_consumer_though_its_holder_keeps_it() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    ours.publish(&task()).await.unwrap();
    let mut consumer = ours.consume().await.unwrap();
    let held = next(&mut consumer).await;
    let LeaseOutcome::Granted(kept) = held.lease(&key()).await.unwrap() else { panic!("nobody has it") };
    drop(consumer);
    assert!(kept.lost().is_cancelled());
    wait_for("the lost lease", async || match theirs.lease(&key()).await.unwrap() {
        LeaseOutcome::Granted(lease) => Some(lease),
        LeaseOutcome::Held => None,
    })
    .await;
    drop((kept, held));
}

#[tokio::test]
async fn events_that_are_too_many_go_while_others_come() {
    let home = Home::new();
    let queue = home.queue().await;
    let mut plain = home.plain().await;
    let many = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 101499) \
                INSERT INTO events (number, body) SELECT n, '{}' FROM numbers";
    sqlx::query(many).execute(&mut plain).await.unwrap();
    let task = task();
    let mut run = Run::queued(task.id, task.ticket.clone());
    let event = run.record(EventKind::Queued, 1, serde_json::Value::Null).unwrap().clone();
    for _ in 0..501 {
        queue.emit(&event).await.unwrap();
    }
    let oldest: i64 =
        sqlx::query_scalar("SELECT min(number) FROM events").fetch_one(&mut plain).await.unwrap();
    assert_eq!(oldest, 2001);
}

#[tokio::test]
async fn a_dead_letter_waits_until_it_is_replayed_or_discarded() {
    let home = Home::new();
    let queue = home.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    let (one, other) = (task(), task());
    for task in [&one, &other] {
        queue.publish(task).await.unwrap();
        let death = Death { reason: "no such repository".to_owned(), step: Some("clone".to_owned()) };
        assert_eq!(next(&mut consumer).await.dead_letter(&death).await.unwrap(), Settled::Done);
    }
    let letters = queue.dead_letters(9).await.unwrap();
    let ids: Vec<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
    assert_eq!(ids, [one.id.to_string(), other.id.to_string()]);
    assert_eq!(letters[0].reason.as_deref(), Some("no such repository"));
    assert_eq!(letters[0].step.as_deref(), Some("clone"));
    assert!(letters[0].died_at.is_some());
    assert_eq!(queue.dead_letters(1).await.unwrap().len(), 1);
    assert!(!queue.replay("nobody", "ann").await.unwrap());
    assert!(queue.replay(ids[0], "ann").await.unwrap());
    assert!(queue.discard(ids[1]).await.unwrap());
    assert!(!queue.discard(ids[1]).await.unwrap());
    let again = next(&mut consumer).await;
    assert_eq!((again.info.attempt, again.info.replayed_by.as_deref()), (1, Some("ann")));
    assert_eq!(again.body, one.to_json());
    again.ack().await.unwrap();
    wait_for_backlog(&queue, [0; 4]).await;
}

#[tokio::test]
async fn events_and_orders_reach_those_that_listen_in_other_processes() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    let task = task();
    let mut run = Run::queued(task.id, task.ticket.clone());
    ours.emit(run.record(EventKind::Queued, 1, serde_json::Value::Null).unwrap()).await.unwrap();
    let mut events = theirs.follow(&[task.id]).await.unwrap();
    let mut orders = theirs.orders().await.unwrap();
    let claimed = run.record(EventKind::Claimed, 1, serde_json::Value::Null).unwrap();
    ours.emit(claimed).await.unwrap();
    let order =
        Order::Cancel { ticket: task.ticket.clone(), by: "ann".parse().unwrap(), at: jiff::Timestamp::now() };
    ours.order(&order).await.unwrap();
    let event = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
    assert_eq!(event.kind, EventKind::Claimed, "only what came after the beginning");
    assert_eq!(tokio::time::timeout(SOON, orders.next()).await.unwrap().unwrap(), order);
    theirs.close().await;
    assert!(tokio::time::timeout(SOON, events.next()).await.unwrap().is_none());
    assert!(tokio::time::timeout(SOON, orders.next()).await.unwrap().is_none());
}
