//! Who holds what, and what happens when a holder or the server goes away.

use std::time::{Duration, Instant};

use jira_agent::queue::{
    Backlog, Consumer, Counts, Death, Delivery, LeaseOutcome, Retry, Settled, TaskQueue,
};
use redis::Value;

use super::server::Server;
use super::{cancelled, lease_key, next, task};
use crate::broker::{SOON, wait_for};

const SHORT: Duration = Duration::from_secs(2);

/// A delivery in the hands of a runtime that is then stopped dead: no renewal, no goodbye.
async fn held_by_the_dead(server: &Server) {
    let config = jira_agent::config::QueueConfig { lease_timeout: SHORT, ..server.config() };
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let held = runtime.block_on(async {
            let queue = jira_agent::queue::redis::Redis::connect(&config, "dead").await.unwrap();
            let mut consumer = queue.consume().await.unwrap();
            let delivery = next(&mut consumer).await;
            let lease = delivery.lease(&lease_key()).await.unwrap();
            (queue, consumer, delivery, lease)
        });
        runtime.shutdown_background();
        drop(held);
    })
    .await
    .unwrap();
}

/// Only a server that has been up for a lease time takes anything back.
async fn old_enough(server: &Server) {
    let uptime = |info: String| {
        let line = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).map(str::to_owned);
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    wait_for("an old server", async || (uptime(server.ask(&["INFO", "server"]).await) > 3).then_some(()))
        .await;
}

#[tokio::test]
async fn what_a_dead_worker_held_comes_back_and_counts() {
    let server = Server::shared().await;
    let queue = server.queue_with(SHORT).await;
    queue.publish(&task("PROJ-1")).await.unwrap();
    old_enough(&server).await;
    for deaths in 1..=2 {
        let begin = Instant::now();
        held_by_the_dead(&server).await;
        let mut consumer = queue.consume().await.unwrap();
        server.push("PROJ-2").await;
        next(&mut consumer).await.ack().await.unwrap();
        assert!(begin.elapsed() < SHORT, "the other task waits for nobody");
        let back = next(&mut consumer).await;
        assert!(begin.elapsed() >= SHORT, "{:?}", begin.elapsed());
        assert_eq!((back.info.delivery_count, back.info.redelivered), (deaths, true));
        // The lease on its ticket has ended with it.
        let granted = wait_for("the lease", async || match back.lease(&lease_key()).await.unwrap() {
            LeaseOutcome::Granted(lease) => Some(lease),
            LeaseOutcome::Held => None,
        });
        granted.await.release().await;
        drop((back, consumer));
        wait_for("it to go back", async || (queue.backlog().await.unwrap().ready == 1).then_some(())).await;
    }
}

async fn hold(queue: &dyn TaskQueue) -> (Box<dyn Consumer>, Delivery) {
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    (consumer, delivery)
}

#[tokio::test]
async fn a_held_delivery_is_kept_for_longer_than_its_lease() {
    let server = Server::shared().await;
    let queue = server.queue_with(Duration::from_millis(1500)).await;
    server.push("PROJ-1").await;
    let (_consumer, delivery) = hold(&queue).await;
    let LeaseOutcome::Granted(lease) = delivery.lease(&lease_key()).await.unwrap() else { panic!("held") };
    let mut other = queue.consume().await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(4), other.next()).await;
    assert!(early.is_err(), "nobody else gets it");
    assert!(matches!(queue.lease(&lease_key()).await.unwrap(), LeaseOutcome::Held));
    assert!(!delivery.lost().is_cancelled() && !lease.lost().is_cancelled());
    lease.release().await;
    assert!(matches!(queue.lease(&lease_key()).await.unwrap(), LeaseOutcome::Granted(_)));
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
}

/// Ends the only lease before its time, and has another worker take the task.
async fn steal(server: &Server) -> (Box<dyn Consumer>, Delivery) {
    old_enough(server).await;
    let leases: Vec<String> = server.ask(&["HKEYS", "jira_ticket_queue:leases"]).await;
    assert_eq!(leases.len(), 1);
    let queue = server.queue_with(SHORT).await;
    let mut consumer = queue.consume().await.unwrap();
    let delivery = async {
        loop {
            // Its holder may give a sign of life in between.
            server.ask::<()>(&["HSET", "jira_ticket_queue:leases", &leases[0], "1"]).await;
            if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(600), consumer.next()).await {
                return delivery.unwrap();
            }
        }
    };
    let delivery = tokio::time::timeout(SOON, delivery).await.unwrap();
    assert_eq!(delivery.info.delivery_count, 1);
    (consumer, delivery)
}

#[tokio::test]
async fn a_stale_holder_learns_it_and_can_settle_nothing() {
    let server = Server::shared().await;
    old_enough(&server).await;
    let queue = server.queue_with(Duration::from_secs(4)).await;
    server.push("PROJ-1").await;
    let (_consumer, stale) = hold(&queue).await;
    let (_other, stolen) = steal(&server).await;
    let begin = Instant::now();
    cancelled(&stale.lost()).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(stale.ack().await.unwrap(), Settled::WillBeRedelivered);
    assert_eq!(stolen.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn a_lease_that_is_taken_away_is_known_to_be_lost_within_two_seconds() {
    let server = Server::shared().await;
    for key in ["jira_ticket_queue:leases", "jira_ticket_queue:lease:acme/shop:ai/PROJ-1"] {
        let mut took = Vec::new();
        // A machine that stands still for a moment may make one of them late, not all.
        while took.len() < 3 && took.last().is_none_or(|took| *took >= Duration::from_secs(2)) {
            // As it is without a word in the settings, where a quarter of the lease time would be 15 s.
            let queue = server.queue_with(Duration::from_mins(1)).await;
            server.push("PROJ-1").await;
            let (_consumer, delivery) = hold(&queue).await;
            let LeaseOutcome::Granted(alone) = queue.lease(&lease_key()).await.unwrap() else {
                panic!("held")
            };
            let lost = if key.ends_with(":leases") { delivery.lost() } else { alone.lost() };
            let begin = Instant::now();
            server.ask::<i64>(&["DEL", key]).await;
            cancelled(&lost).await;
            took.push(begin.elapsed());
            assert!(took.iter().all(|took| *took < Duration::from_secs(8)), "{key}: {took:?}");
            alone.release().await;
            server.ask::<()>(&["FLUSHDB"]).await;
        }
        assert!(took.last().is_some_and(|took| *took < Duration::from_secs(2)), "{key}: {took:?}");
    }
}

#[tokio::test]
async fn no_death_is_counted_after_a_jump_of_the_clock() {
    let server = Server::shared().await;
    old_enough(&server).await;
    let queue = server.queue_with(SHORT).await;
    let lease_of = async |key: &str| server.ask::<Vec<i64>>(&["HVALS", key]).await[0];
    let now = async || {
        let time: (i64, i64) = server.ask(&["TIME"]).await;
        time.0 * 1000 + time.1 / 1000
    };
    server.push("PROJ-1").await;
    held_by_the_dead(&server).await;
    let leases = "jira_ticket_queue:leases";
    let lease = server.ask::<Vec<String>>(&["HKEYS", leases]).await.remove(0);
    let lasting = (now().await + 3_600_000).to_string();
    // It was an hour ago, or will be in an hour, that somebody looked.
    for (looked, deadline) in [("1", "1"), (lasting.as_str(), lasting.as_str())] {
        server.ask::<()>(&["HSET", leases, &lease, deadline]).await;
        server.ask::<()>(&["SET", "jira_ticket_queue:looked", looked]).await;
        // A publisher looks with its first task.
        let before = now().await;
        server.queue_with(SHORT).await.publish(&task("PROJ-2")).await.unwrap();
        let looked = before..=now().await;
        // One lease time from when it looked.
        let since = lease_of(leases).await - 2000;
        assert!(looked.contains(&since), "the holder has time from {since}, and it was looked in {looked:?}");
        assert_eq!(queue.backlog().await.unwrap().held, Some(1));
    }
    // Who shows none is dead after all.
    let mut consumer = queue.consume().await.unwrap();
    let mut deaths = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        deaths.push(delivery.info.delivery_count);
        delivery.ack().await.unwrap();
    }
    deaths.sort_unstable();
    assert_eq!(deaths, [0, 0, 1]);
}

#[tokio::test]
async fn a_stale_holder_that_does_not_know_it_is_fenced() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    for way in 0..5 {
        server.push("PROJ-1").await;
        let (_consumer, stale) = hold(&queue).await;
        let (_other, stolen) = steal(&server).await;
        let retry = Retry { after: Duration::ZERO, counts: Counts::Attempt, reason: String::new() };
        let settled = match way {
            0 => stale.ack().await,
            1 => stale.retry(retry).await,
            2 => stale.release("stop").await,
            3 => stale.dead_letter(&Death::new("x")).await,
            _ => stale.normalise(&task("PROJ-1")).await,
        };
        assert_eq!(settled.unwrap(), Settled::WillBeRedelivered, "{way}");
        let held = Backlog { ready: 0, held: Some(1), delayed: 0, dead: 0 };
        assert_eq!(queue.backlog().await.unwrap(), held, "{way}");
        assert_eq!(stolen.ack().await.unwrap(), Settled::Done);
        assert_eq!(server.keys().await, [""; 0]);
    }
}

#[tokio::test]
async fn what_a_living_worker_drops_comes_back_at_once_and_does_not_count() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.push("PROJ-1").await;
    let mut consumer = queue.consume().await.unwrap();
    for round in 0..10 {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.info.delivery_count, delivery.info.redelivered), (0, round > 0));
    }
    let delivery = next(&mut consumer).await;
    // The consumer takes what it holds with it.
    drop(consumer);
    cancelled(&delivery.lost()).await;
    let (_consumer, again) = hold(&queue).await;
    assert_eq!(again.info.delivery_count, 0);
    assert_eq!(delivery.ack().await.unwrap(), Settled::WillBeRedelivered);
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn a_task_that_is_dropped_before_the_queue_closes_is_not_left_behind() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.push("PROJ-1").await;
    let (consumer, delivery) = hold(&queue).await;
    drop((consumer, delivery));
    queue.close().await;
    assert_eq!(server.ask::<i64>(&["LLEN", "jira_ticket_queue"]).await, 1);
}

#[tokio::test]
async fn a_lost_connection_ends_the_consumer_but_not_the_delivery() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.push("PROJ-1").await;
    let (mut consumer, delivery) = hold(&queue).await;
    server.close_connections("test").await;
    assert!(tokio::time::timeout(SOON, consumer.next()).await.unwrap().is_none());
    assert!(!delivery.lost().is_cancelled());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    let mut idle = queue.consume().await.unwrap();
    let waiting = tokio::spawn(async move { idle.next().await.is_none() });
    wait_for("the end of an idle consumer", async || {
        server.close_connections("test").await;
        waiting.is_finished().then_some(())
    })
    .await;
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn a_restart_of_the_server_loses_nothing_and_counts_for_nothing() {
    let server = Server::alone().await;
    let queue = server.queue_with(Duration::from_secs(20)).await;
    for key in ["PROJ-1", "PROJ-2", "PROJ-3"] {
        queue.publish(&task(key)).await.unwrap();
    }
    server.push("PROJ-4").await;
    let (_one, first) = hold(&queue).await;
    let LeaseOutcome::Granted(lease) = first.lease(&lease_key()).await.unwrap() else { panic!("held") };
    let (_two, second) = hold(&queue).await;
    second
        .retry(Retry { after: Duration::ZERO, counts: Counts::Wait, reason: "busy".to_owned() })
        .await
        .unwrap();
    let (_three, third) = hold(&queue).await;
    for command in ["kill", "start", "restart"] {
        server.control(command).await;
    }
    // What was held goes on: no attempt is lost to a restart.
    assert!(!first.lost().is_cancelled() && !lease.lost().is_cancelled());
    assert_eq!(first.ack().await.unwrap(), Settled::Done);
    assert!(matches!(queue.lease(&lease_key()).await.unwrap(), LeaseOutcome::Held));
    lease.release().await;
    // And what is dropped unsettled does not count.
    drop(third);
    let mut consumer = queue.consume().await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.info.delivery_count, 0);
        let body = jira_agent::domain::TaskBody::parse(&delivery.body).unwrap();
        bodies.push(body.task.ticket.to_string());
        delivery.ack().await.unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["PROJ-2", "PROJ-3", "PROJ-4"]);
}

#[tokio::test]
async fn a_settlement_waits_for_a_server_that_comes_back() {
    let server = Server::alone().await;
    let queue = server.queue_with(Duration::from_secs(20)).await;
    server.push("PROJ-1").await;
    let (_consumer, delivery) = hold(&queue).await;
    server.control("stop").await;
    let settling = tokio::spawn(delivery.ack());
    server.control("start").await;
    assert_eq!(settling.await.unwrap().unwrap(), Settled::Done);
    assert_eq!(server.ask::<Value>(&["LLEN", "jira_ticket_queue:processing"]).await, Value::Int(0));
}

#[tokio::test]
async fn a_server_that_stays_away_costs_the_delivery_when_its_lease_ends() {
    let server = Server::alone().await;
    let queue = server.queue_with(SHORT).await;
    server.push("PROJ-1").await;
    let begin = Instant::now();
    let (_consumer, delivery) = hold(&queue).await;
    let lost = delivery.lost();
    server.control("stop").await;
    cancelled(&lost).await;
    assert!(begin.elapsed() < SHORT + Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(delivery.ack().await.unwrap(), Settled::WillBeRedelivered);
    server.control("start").await;
    // Its holder lives: it goes back without having counted, before the young server takes anything back itself.
    let (_consumer, again) = hold(&queue).await;
    assert_eq!((again.info.delivery_count, again.info.redelivered), (0, true));
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn a_lease_without_a_delivery_is_kept_and_given_back() {
    let server = Server::shared().await;
    let queue = server.queue_with(Duration::from_millis(1500)).await;
    let LeaseOutcome::Granted(lease) = queue.lease(&lease_key()).await.unwrap() else { panic!("held") };
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        assert!(matches!(queue.lease(&lease_key()).await.unwrap(), LeaseOutcome::Held));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let key = "jira_ticket_queue:lease:acme/shop:ai/PROJ-1";
    server.ask::<()>(&["SET", key, "somebody"]).await;
    cancelled(&lease.lost()).await;
    lease.release().await;
    assert_eq!(server.ask::<String>(&["GET", key]).await, "somebody");
    server.ask::<()>(&["DEL", key]).await;
    let LeaseOutcome::Granted(lease) = queue.lease(&lease_key()).await.unwrap() else { panic!("held") };
    drop(lease);
    wait_for("the dropped lease", async || match queue.lease(&lease_key()).await.unwrap() {
        LeaseOutcome::Granted(lease) => Some(lease),
        LeaseOutcome::Held => None,
    })
    .await
    .release()
    .await;
}
