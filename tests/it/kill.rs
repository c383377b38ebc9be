//! A worker that is killed anywhere, by a real SIGKILL, leaves a run that ends as if nothing had happened.

use std::os::unix::process::ExitStatusExt as _;

use jira_agent_simulator::models::{Reply, Rule};
use jira_agent_worker::crash::{FAILURE_POINTS, POINTS};

use crate::world::{BRANCH, NEEDED, PLAN, REPORTER, REPOSITORY, TICKET, World};

const ONCE: [&str; 4] = ["run", "--once", "--idle-exit", "20s"];

/// A line for whoever runs the tests with `--nocapture`.
fn say(line: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{line}").unwrap();
}

/// Kills a first worker at `point` and lets a second one finish; false when a run never comes past that point.
async fn die_and_go_on(world: &World, point: &str) -> bool {
    let first = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", point)]).await;
    if first.status.success() {
        return false;
    }
    assert_eq!(first.status.signal(), Some(9), "killed at {point}: {}", first.log);
    world.work_off().await;
    true
}

async fn quickfix(point: &'static str) {
    let world = World::new().await;
    world.publish(TICKET).await;
    assert!(die_and_go_on(&world, point).await, "the run never came to {point}");
    world.assert_fixed().await;
    let calls = world.simulator.models().calls().len();
    let paid_twice = ["edit:done", "check:done", "publish:committed"].contains(&point);
    assert_eq!(calls, if paid_twice { 2 } else { 1 }, "model calls after dying at {point}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quickfix_ends_the_same_wherever_its_worker_is_killed() {
    let mut killed = Vec::new();
    for points in POINTS.chunks(4) {
        let runs = points.iter().map(|point| tokio::spawn(quickfix(point)));
        for (run, point) in runs.collect::<Vec<_>>().into_iter().zip(points) {
            run.await.unwrap();
            killed.push(*point);
        }
    }
    let count = killed.len();
    say(&format!("killed and recovered at {count} of {} points: {}", POINTS.len(), killed.join(", ")));
    assert_eq!(killed, POINTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_ends_the_same_when_its_worker_is_killed_between_telling_and_parking() {
    for point in FAILURE_POINTS {
        let world = World::new().await;
        world.publish(r#"{"issue_id": "PROJ-1", "repo_url": "https://github.com/acme/other"}"#).await;
        assert!(die_and_go_on(&world, point).await, "the run never came to {point}");
        let comments = world.comments();
        assert_eq!(comments.len(), 1, "{comments:?}");
        assert!(comments[0].contains("not among the configured routes"), "{}", comments[0]);
        assert_eq!(world.depths().await, [("agent-tasks.dlq".to_owned(), 1)]);
        world.finish().await;
    }
}

/// A trigger that the run itself takes away: it hands the ticket over, and people take the label off.
async fn triggered(point: &'static str, trigger: &'static str) {
    let world = World::new().await;
    let body = format!(r#"{{"issue_id": "PROJ-1", "trigger": {{"kind": "{trigger}", "id": "ai-help"}}}}"#);
    world.publish(&body).await;
    let first = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", point)]).await;
    assert_eq!(first.status.signal(), Some(9), "killed at {point}: {}", first.log);
    world.simulator.jira().label(TICKET, &[], &["ai-help".to_owned()], REPORTER).unwrap();
    world.work_off().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_pushed_goes_on_although_its_trigger_is_gone() {
    for point in ["publish:pushed", "report:assigned", "report:commented"] {
        for trigger in ["assignment", "label"] {
            triggered(point, trigger).await;
        }
    }
}

/// Two tasks ask for the same; the worker of the first dies after its push, and the second is delivered before it.
async fn overtaken(point: &'static str) {
    let world = World::new().await;
    let body = r#"{"issue_id": "PROJ-1", "requested_at": "2026-01-30T12:00:00Z"}"#;
    world.publish(body).await;
    let first = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", point)]).await;
    assert_eq!(first.status.signal(), Some(9), "killed at {point}: {}", first.log);
    let held_up = world.broker.take("agent-tasks").await;
    world.publish(body).await;
    let second = world.work_once().await;
    assert!(second.log.contains("of this ticket has pushed and is not finished"), "{point}: {}", second.log);
    world.broker.publish(std::str::from_utf8(&held_up.data).unwrap(), held_up.properties.clone()).await;
    world.work_once().await;
    world.hurry("agent-tasks.retry.30s").await;
    world.work_off().await;
    world.assert_fixed().await;
    assert_eq!(world.simulator.models().calls().len(), 1, "{point}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_task_of_the_ticket_waits_for_a_run_that_has_pushed() {
    for point in ["publish:pushed", "publish:done", "report:commented"] {
        overtaken(point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_pushed_goes_on_although_another_one_has_ended_since() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let first = world.work(&ONCE, &[("JIRA_AGENT_CRASH_AT", "publish:pushed")]).await;
    assert_eq!(first.status.signal(), Some(9), "{}", first.log);
    // As a run leaves it that read the ticket later and found nothing to do.
    let memory = serde_json::json!({"watermark": "2999-01-01T00:00:00Z"});
    world.simulator.jira().set_property(TICKET, "jira-agent", memory).unwrap();
    world.work_off().await;
    world.assert_fixed().await;
    world.finish().await;
}

async fn plan(point: &'static str) -> bool {
    let world = World::speechless().await;
    world.answer(Rule::new(NEEDED, Reply::text(PLAN)).unwrap());
    world.publish(r#"{"issue_id": "PROJ-1", "mode": "plan"}"#).await;
    let died = die_and_go_on(&world, point).await;
    let github = world.simulator.github();
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1, "{point}");
    assert_eq!(pulls[0].issue.labels, ["ai-agent", "plan-pending"], "{point}");
    assert_eq!(github.comments(REPOSITORY, pulls[0].issue.number).len(), 1, "{point}");
    assert_eq!(github.commits(REPOSITORY, BRANCH).len(), 2, "{point}");
    assert_eq!(world.comments().len(), 1, "{point}");
    assert_eq!(world.depths().await, [], "{point}");
    world.finish().await;
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_ends_the_same_wherever_its_worker_is_killed() {
    let mut killed = 0;
    for points in POINTS.chunks(4) {
        let runs: Vec<_> = points.iter().map(|point| tokio::spawn(plan(point))).collect();
        for run in runs {
            killed += usize::from(run.await.unwrap());
        }
    }
    say(&format!("a plan was killed and recovered at {killed} points"));
    assert!(killed >= POINTS.len() - 3, "a plan has no check and does not move the ticket");
}

async fn github_issue(point: &'static str) -> bool {
    let world = World::new().await;
    let number =
        world.add_github_issue("The total of the cart is wrong", "`Cart::total` ignores the quantity.");
    let url = world.simulator.url();
    world.publish(&format!(r#"{{"repo_url": "{url}/{REPOSITORY}", "issue_id": {number}}}"#)).await;
    let died = die_and_go_on(&world, point).await;
    let github = world.simulator.github();
    assert_eq!(world.pulls().len(), 1, "{point}");
    assert_eq!(github.commits(REPOSITORY, &format!("ai-agent/issue-{number}")).len(), 2, "{point}");
    let comments = github.comments(REPOSITORY, number);
    for kind in ["<!-- jira-agent:report:", "<!-- jira-agent:memory:"] {
        let count = comments.iter().filter(|comment| comment.body.contains(kind)).count();
        assert_eq!(count, 1, "{kind} after {point}");
    }
    assert_eq!(comments.len(), 2, "{point}");
    assert_eq!(world.depths().await, [], "{point}");
    world.finish().await;
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn a_github_issue_ends_the_same_wherever_its_worker_is_killed() {
    let mut killed = 0;
    for points in POINTS.chunks(4) {
        let runs: Vec<_> = points.iter().map(|point| tokio::spawn(github_issue(point))).collect();
        for run in runs {
            killed += usize::from(run.await.unwrap());
        }
    }
    say(&format!("a GitHub issue was killed and recovered at {killed} points"));
    assert!(killed >= POINTS.len() - 2, "only moving and assigning are Jira's");
}
