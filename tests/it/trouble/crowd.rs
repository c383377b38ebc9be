//! Several workers at once.

use std::collections::BTreeSet;

use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::{Reply, Rule};

use super::{PATIENT, Thinking, calls, end_of, good, hurry};
use crate::world::{REPOSITORY, TICKET, World, ticket};

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_of_one_ticket_are_not_worked_on_at_once() {
    let world = World::speechless().await;
    let thinking = Thinking::first(&world);
    world.answer(good());
    world.publish(TICKET).await;
    world.publish(TICKET).await;
    let first = world.start(&["run", "--once"], &[PATIENT]);
    thinking.begun().await;
    world.work_once().await;
    hurry(&world, "agent-tasks.retry.30s", 1, "another worker works on this ticket").await;
    thinking.answer();
    let first = end_of(first).await;
    assert!(first.status.success(), "{}", first.log);
    let second = world.work_once().await;
    assert!(second.log.contains("superseded"), "{}", second.log);
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_during_a_run_becomes_one_run_after_it() {
    let world = World::speechless().await;
    let thinking = Thinking::first(&world);
    let done = Reply::text("NOTHING_TO_CHANGE: every piece is charged already");
    world.answer(Rule::new(r"total \+ item\.price \* item\.quantity;", done).unwrap());
    world.publish(TICKET).await;
    let first = world.start(&["run", "--once"], &[PATIENT]);
    thinking.begun().await;
    world.publish(TICKET).await;
    world.publish(TICKET).await;
    thinking.answer();
    assert!(end_of(first).await.status.success());
    world.work_off().await;
    assert_eq!(calls(&world).len(), 2, "the later two are one");
    assert_eq!(world.pulls().len(), 1);
    let comments = world.comments();
    assert_eq!(comments.len(), 2, "{comments:?}");
    assert!(comments[1].starts_with("I changed nothing: every piece is charged already"), "{comments:?}");
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_turn_twelve_tickets_into_twelve_pull_requests() {
    let world = World::new().await;
    let keys: Vec<String> = (1..=12).map(|number| format!("PROJ-{number}")).collect();
    for key in &keys[1..] {
        world.simulator.jira().add_issue(ticket(key)).unwrap();
    }
    for key in &keys {
        world.publish(key).await;
    }
    let workers: Vec<_> = (0..4).map(|_| world.start(&["run", "--idle-exit", "2s"], &[])).collect();
    let mut busy = 0;
    for worker in workers {
        let ended = end_of(worker).await;
        assert!(ended.status.success(), "{}", ended.log);
        busy += usize::from(ended.log.contains("the run ended"));
    }
    assert!(busy > 1, "the work was shared");
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 12);
    let heads: BTreeSet<String> = pulls.iter().map(|pull| pull.head.clone()).collect();
    assert_eq!(heads, keys.iter().map(|key| format!("ai/{key}")).collect());
    for key in &keys {
        let issue = world.simulator.jira().issue(key).unwrap();
        assert_eq!((issue.status.as_str(), issue.comments_by(Jira::AGENT).len()), ("In Testing", 1), "{key}");
        assert_eq!(world.simulator.github().commits(REPOSITORY, &format!("ai/{key}")).len(), 2, "{key}");
    }
    assert_eq!(calls(&world).len(), 12);
    assert_eq!(world.depths().await, []);
    world.finish().await;
}
