//! A task that kills its workers comes back ever more rarely, and then no more.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use serde_json::Value;

use super::probes::{address, ask};
use super::{number, text};
use crate::broker::wait_for;
use crate::world::{TICKET, World};

const ONCE: [&str; 4] = ["run", "--once", "--idle-exit", "30s"];

/// A worker that dies behind the step `edit`.
async fn die(world: &World) {
    let died = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", "edit:done")]).await;
    assert_eq!(died.status.signal(), Some(9), "{}", died.log);
}

/// Two deaths; the worker after them puts the task off to `tier`. Gives the message that waits there.
async fn die_twice(world: &World, tier: &str) -> lapin::message::Delivery {
    die(world).await;
    die(world).await;
    let third = world.work_once().await;
    assert!(third.log.contains("the worker died over this task in step edit"), "{}", third.log);
    assert_eq!(world.depths().await, [(tier.to_owned(), 1)]);
    world.hurry(tier).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_kills_its_workers_is_parked_after_three_crashes_with_the_step() {
    let world = World::new().await;
    world.publish(TICKET).await;
    for (crashes, tier) in [(1, "agent-tasks.retry.10m"), (2, "agent-tasks.retry.1h")] {
        let waiting = die_twice(&world, tier).await;
        assert_eq!((number(&waiting, "x-crashes"), number(&waiting, "x-attempt")), (crashes, 1));
        assert!(text(&waiting, "x-reason").contains("in step edit"), "{}", text(&waiting, "x-reason"));
        assert_eq!(world.comments(), [""; 0], "nothing is said while it may still end well");
    }
    die(&world).await;
    die(&world).await;
    world.work_once().await;
    assert_eq!(world.depths().await, [("agent-tasks.dlq".to_owned(), 1)]);
    let shown = world.command("jira-agent-producer").args(["dead-letters", "list", "--json"]).output().await;
    let shown: Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    assert_eq!(shown["dead_letters"][0]["cause"], "worker_died", "{shown}");
    let dead = world.broker.take("agent-tasks.dlq").await;
    assert_eq!(text(&dead, "x-reason"), "the worker died 3 times in step edit");
    assert_eq!((text(&dead, "x-step").as_str(), number(&dead, "x-crashes")), ("edit", 3));
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains("the worker died 3 times in step edit"), "{}", comments[0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_through_after_all_ends_as_if_nothing_had_happened() {
    let world = World::new().await;
    world.publish(TICKET).await;
    die_twice(&world, "agent-tasks.retry.10m").await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_had_ended_is_no_failure_however_often_its_worker_died() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let crash = [("JIRA_AGENT_CRASH_AT", "report:marked")];
    let died = world.work(&ONCE, &crash).await;
    assert_eq!(died.status.signal(), Some(9), "{}", died.log);
    // It waits with two crashes behind it already, and its workers died before they could even read the ticket.
    let message = world.broker.take("agent-tasks").await;
    let mut headers = message.properties.headers().clone().unwrap_or_default();
    headers.insert("x-crashes".into(), lapin::types::AMQPValue::LongLongInt(2));
    let body = String::from_utf8(message.data.clone()).unwrap();
    world.broker.publish(&body, message.properties.clone().with_headers(headers)).await;
    for _ in 0..2 {
        let died = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", "consume:received")]).await;
        assert_eq!(died.status.signal(), Some(9), "{}", died.log);
    }
    let (mut worker, log) = world.start(&["run"], &[("JIRA_AGENT__WORKER__LISTEN", "127.0.0.1:0")]);
    let address = address(&log).await;
    let counted = r#"jira_agent_runs_total{outcome="already_ended"} 1"#;
    wait_for(counted, async || ask(&address, "/metrics").await.1.contains(counted).then_some(())).await;
    let metrics = ask(&address, "/metrics").await.1;
    assert!(metrics.contains("jira_agent_queue_wait_seconds_count 0"), "{metrics}");
    worker.start_kill().unwrap();
    tokio::time::timeout(Duration::from_secs(10), worker.wait()).await.unwrap().unwrap();
    world.assert_fixed().await;
    world.finish().await;
}
