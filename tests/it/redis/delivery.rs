//! Publishing, consuming, settling, and what lies where.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use jira_agent::domain::{EventKind, Order, Run, TaskBody, TaskId};
use jira_agent::queue::{Backlog, Counts, Death, Retry, Settled, TaskQueue};
use serde_json::json;

use super::server::Server;
use super::{next, task};
use crate::broker::{SOON, wait_for};

async fn is_empty(server: &Server) -> bool {
    server.keys().await.is_empty()
}

fn later(counts: Counts) -> Retry {
    Retry { after: Duration::ZERO, counts, reason: "busy".to_owned() }
}

#[tokio::test]
async fn what_another_program_pushes_is_a_task() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    let json = r#"{"issue_id":"PROJ-2","mode":"plan"}"#;
    for body in ["PROJ-1", json, "PROJ-1", "PROJ-1"] {
        server.push(body).await;
    }
    for body in ["PROJ-1", json, "PROJ-1", "PROJ-1"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body, body);
        let info = &delivery.info;
        assert_eq!((info.attempt, info.delivery_count, info.redelivered), (1, 0, false));
        assert_eq!((&info.message_id, info.first_published), (&None, None));
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    }
    assert!(is_empty(&server).await);
}

#[tokio::test]
async fn two_equal_bodies_are_two_deliveries() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.ask::<()>(&["RPUSH", "jira_ticket_queue", "PROJ-1", "PROJ-1"]).await;
    let (mut one, mut two) = (queue.consume().await.unwrap(), queue.consume().await.unwrap());
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    assert_eq!(first.ack().await.unwrap(), Settled::Done);
    assert_eq!(queue.backlog().await.unwrap().held, Some(1));
    assert!(!second.lost().is_cancelled());
    assert_eq!(second.ack().await.unwrap(), Settled::Done);
    assert!(is_empty(&server).await);
}

#[tokio::test]
async fn a_copy_of_an_item_is_a_delivery_of_its_own() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    queue.publish(&task("PROJ-1")).await.unwrap();
    let item: String = server.ask(&["LINDEX", "jira_ticket_queue", "0"]).await;
    server.push(&item).await;
    let (mut one, mut two) = (queue.consume().await.unwrap(), queue.consume().await.unwrap());
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    assert_eq!(first.info.message_id, second.info.message_id);
    assert_eq!(first.ack().await.unwrap(), Settled::Done);
    assert_eq!(second.ack().await.unwrap(), Settled::Done);
    assert!(is_empty(&server).await);
}

#[tokio::test]
async fn tasks_come_in_the_order_in_which_they_were_put_there() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    for number in 1..=5 {
        queue.publish(&task(&format!("PROJ-{number}"))).await.unwrap();
        server.push(&format!("RAW-{number}")).await;
    }
    let mut consumer = queue.consume().await.unwrap();
    for number in 1..=5 {
        for project in ["PROJ", "RAW"] {
            let delivery = next(&mut consumer).await;
            let body = TaskBody::parse(&delivery.body).unwrap();
            assert_eq!(body.task.ticket.to_string(), format!("{project}-{number}"));
            delivery.ack().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_task_that_gets_an_id_keeps_its_place() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.ask::<()>(&["RPUSH", "jira_ticket_queue", "PROJ-1", "PROJ-2"]).await;
    let mut consumer = queue.consume().await.unwrap();
    let bare = next(&mut consumer).await;
    let whole = TaskBody::parse(&bare.body).unwrap().task;
    assert_eq!(bare.normalise(&whole).await.unwrap(), Settled::Done);
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.info.message_id, Some(whole.id.to_string()));
    assert!(delivery.info.first_published.is_some());
    assert_eq!(queue.backlog().await.unwrap(), Backlog { ready: 1, held: Some(1), delayed: 0, dead: 0 });
}

#[tokio::test]
async fn an_idle_consumer_sees_a_push_at_once_and_lets_go_of_it_for_others() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let mut consumers = Vec::new();
    for _ in 0..5 {
        consumers.push(queue.consume().await.unwrap());
    }
    let mut waiting: Vec<_> = consumers
        .into_iter()
        .map(|mut one| tokio::spawn(async move { (next(&mut one).await, one) }))
        .collect();
    // All of them have found nothing and wait on the list.
    wait_for("blocked clients", async || {
        let clients: String = server.ask(&["CLIENT", "LIST"]).await;
        let database = format!(" db={} ", server.url().path().trim_start_matches('/'));
        let blocked = clients.lines().filter(|line| line.contains(&database) && line.contains("cmd=blmove"));
        (blocked.count() == 5).then_some(())
    })
    .await;
    for number in 1..=5 {
        let pushed = Instant::now();
        server.push(&format!("PROJ-{number}")).await;
        let ((delivery, _consumer), _, rest) = futures_util::future::select_all(waiting).await.into_parts();
        assert_eq!(delivery.body, format!("PROJ-{number}"));
        assert!(pushed.elapsed() < Duration::from_millis(500), "{:?}", pushed.elapsed());
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        waiting = rest;
    }
    assert!(is_empty(&server).await);
}

trait IntoParts<T> {
    fn into_parts(self) -> T;
}

impl<A, E: std::fmt::Debug, B, C> IntoParts<(A, B, C)> for (Result<A, E>, B, C) {
    fn into_parts(self) -> (A, B, C) {
        (self.0.unwrap(), self.1, self.2)
    }
}

#[tokio::test]
async fn a_next_that_is_given_up_forgets_no_task() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    for number in 0..200 {
        server.push(&format!("PROJ-{}", number + 1)).await;
        // Given up at any moment: before, while and after the task is taken.
        let limit = Duration::from_micros(number * 10);
        let delivery = match tokio::time::timeout(limit, consumer.next()).await {
            Ok(delivery) => delivery.unwrap(),
            Err(_) => next(&mut consumer).await,
        };
        assert_eq!(delivery.body, format!("PROJ-{}", number + 1));
        delivery.ack().await.unwrap();
    }
    assert!(is_empty(&server).await);
}

#[tokio::test]
async fn what_was_taken_but_not_asked_for_goes_back_when_the_consumer_stops() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), consumer.next()).await;
    assert!(early.is_err());
    server.push("PROJ-1").await;
    consumer.stop().await;
    assert!(consumer.next().await.is_none());
    assert_eq!(queue.backlog().await.unwrap(), Backlog { ready: 1, held: Some(0), delayed: 0, dead: 0 });
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(next(&mut consumer).await.info.delivery_count, 0);
}

#[tokio::test]
async fn tasks_that_wait_come_back_in_the_order_of_their_time() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let mut consumer = queue.consume().await.unwrap();
    for (key, after) in [("PROJ-1", 600), ("PROJ-2", 100)] {
        queue.publish(&task(key)).await.unwrap();
        let retry = Retry { after: Duration::from_millis(after), ..later(Counts::Attempt) };
        assert_eq!(next(&mut consumer).await.retry(retry).await.unwrap(), Settled::Done);
    }
    assert_eq!(queue.backlog().await.unwrap(), Backlog { ready: 0, held: Some(0), delayed: 2, dead: 0 });
    assert_eq!(server.ask::<i64>(&["LLEN", "jira_ticket_queue:waiting"]).await, 2);
    let begin = Instant::now();
    for (key, after) in [("PROJ-2", 200), ("PROJ-1", 500)] {
        let delivery = next(&mut consumer).await;
        assert!(begin.elapsed() >= Duration::from_millis(after), "{:?}", begin.elapsed());
        assert_eq!(TaskBody::parse(&delivery.body).unwrap().task.ticket.to_string(), key);
        assert_eq!((delivery.info.attempt, delivery.info.redelivered), (2, false));
        delivery.ack().await.unwrap();
    }
    assert!(is_empty(&server).await);
}

/// Far more of them in a millisecond than one, and the later the smaller by their text.
#[tokio::test]
async fn tasks_that_are_retried_in_the_same_moment_keep_their_order() {
    const COUNT: usize = 300;
    let server = Server::shared().await;
    let mut connection = server.connection().await;
    let items: Vec<String> =
        (0..COUNT).map(|number| format!("jira-agent/1 {:026} {{}}\nPROJ-1", COUNT - number)).collect();
    let mut held = redis::pipe();
    for item in &items {
        held.cmd("RPUSH").arg("jira_ticket_queue:processing").arg(item).ignore();
        held.cmd("HSET").arg("jira_ticket_queue:leases").arg(lease_of(item)).arg(9).ignore();
    }
    held.query_async::<()>(&mut connection).await.unwrap();
    let script = include_str!("../../../src/queue/redis/scripts/settle.lua");
    let mut retries = redis::pipe();
    for item in &items {
        retries.cmd("EVAL").arg(script).arg(6);
        for key in [":processing", ":leases", "", ":delayed", ":waiting", ":dead"] {
            retries.arg(format!("jira_ticket_queue{key}"));
        }
        retries.arg(lease_of(item)).arg(item).arg("delay").arg(item).arg(100);
    }
    let answers: Vec<i64> = retries.query_async(&mut connection).await.unwrap();
    assert_eq!(answers, [1; COUNT]);
    let delayed: Vec<String> = server.ask(&["ZRANGE", "jira_ticket_queue:delayed", "0", "-1"]).await;
    assert_eq!(delayed, items);
    // And the workers get them in that order.
    let mut consumer = server.queue().await.consume().await.unwrap();
    for item in &items {
        let delivery = next(&mut consumer).await;
        let held: Vec<String> = server.ask(&["LRANGE", "jira_ticket_queue:processing", "0", "-1"]).await;
        assert_eq!(held, std::slice::from_ref(item));
        delivery.ack().await.unwrap();
    }
}

fn lease_of(item: &str) -> String {
    format!("{} owner", &item[13..39])
}

#[tokio::test]
async fn a_publisher_moves_due_tasks_too() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    queue.publish(&task("PROJ-1")).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    next(&mut consumer).await.retry(later(Counts::Wait)).await.unwrap();
    drop(consumer);
    let ready = async || {
        queue.publish(&task("PROJ-2")).await.unwrap();
        (queue.backlog().await.unwrap().delayed == 0).then_some(())
    };
    wait_for("the task to be moved", ready).await;
}

#[tokio::test]
async fn counters_and_reasons_travel_with_the_task() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let task = task("PROJ-1");
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    next(&mut consumer).await.retry(later(Counts::Wait)).await.unwrap();
    next(&mut consumer).await.retry(later(Counts::Crash)).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.info.attempt, delivery.info.waits, delivery.info.crashes), (1, 1, 1));
    delivery.release("the worker stops").await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.info.attempt, delivery.info.waits, delivery.info.crashes), (1, 1, 1));
    delivery.retry(later(Counts::Attempt)).await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!((delivery.info.attempt, delivery.info.waits, delivery.info.crashes), (2, 0, 0));
    assert_eq!(delivery.info.message_id, Some(task.id.to_string()));
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_discarded() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let (one, mut consumer) = (task("PROJ-1"), queue.consume().await.unwrap());
    queue.publish(&one).await.unwrap();
    server.push("rubbish").await;
    let death = Death { reason: "no such repository".to_owned(), step: Some("claim".to_owned()) };
    next(&mut consumer).await.dead_letter(&death).await.unwrap();
    next(&mut consumer).await.dead_letter(&Death::new("not a task")).await.unwrap();
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(queue.dead_letters(1).await.unwrap(), letters[..1]);
    assert_eq!((letters.len(), letters[0].id.as_str()), (2, one.id.to_string().as_str()));
    assert_eq!(letters[0].reason.as_deref(), Some("no such repository"));
    assert_eq!(letters[0].step.as_deref(), Some("claim"));
    assert!(letters[0].died_at.is_some() && letters[1].id.starts_with("sha256-"));
    assert_eq!(letters[1].body, "rubbish");

    assert!(!queue.replay("nobody", "ann").await.unwrap());
    assert!(queue.replay(&letters[0].id, "ann").await.unwrap());
    let again = next(&mut consumer).await;
    assert_eq!(again.info.message_id, Some(one.id.to_string()));
    assert_eq!((again.info.attempt, again.info.replayed_by.as_deref()), (1, Some("ann")));
    again.ack().await.unwrap();
    assert!(queue.discard(&letters[1].id).await.unwrap());
    assert!(!queue.discard(&letters[1].id).await.unwrap());
    assert!(is_empty(&server).await);
}

#[tokio::test]
async fn a_follower_hears_of_its_runs_from_now_on() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    let (run, other) = (task("PROJ-1"), task("PROJ-2"));
    let event = |run: TaskId, kind| {
        let mut run = Run::queued(run, "PROJ-1".parse().unwrap());
        run.record(kind, 1, json!({"duration_ms": 7})).unwrap().clone()
    };
    queue.emit(&event(run.id, EventKind::Claimed)).await.unwrap();
    let mut events = queue.follow(&[run.id]).await.unwrap();
    queue.emit(&event(other.id, EventKind::Claimed)).await.unwrap();
    let wanted = event(run.id, EventKind::Succeeded);
    queue.emit(&wanted).await.unwrap();
    let heard = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
    assert_eq!(heard, wanted);
}

#[tokio::test]
async fn an_order_reaches_everybody_who_listens_to_this_database() {
    let server = Server::shared().await;
    let elsewhere = Server::shared().await;
    let queue = server.queue().await;
    let cancel = |key: &str| Order::Cancel {
        ticket: key.parse().unwrap(),
        by: "ann".parse().unwrap(),
        at: Timestamp::UNIX_EPOCH,
    };
    queue.order(&cancel("PROJ-9")).await.unwrap();
    let mut listeners = [queue.orders().await.unwrap(), queue.orders().await.unwrap()];
    elsewhere.queue().await.order(&cancel("PROJ-8")).await.unwrap();
    queue.order(&cancel("PROJ-1")).await.unwrap();
    for listener in &mut listeners {
        let order = tokio::time::timeout(SOON, listener.next()).await.unwrap().unwrap();
        assert_eq!(order, cancel("PROJ-1"));
    }
    server.close_connections("test").await;
    for listener in &mut listeners {
        assert!(tokio::time::timeout(SOON, listener.next()).await.unwrap().is_none());
    }
}
