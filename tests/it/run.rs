//! A task on the queue becomes a branch, a pull request and an updated ticket, and only then it is acknowledged.

use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::{Reply, Rule};

use crate::world::{BRANCH, NEEDED, PLAN, REPOSITORY, TICKET, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_key_becomes_a_pull_request_and_an_updated_ticket() {
    let world = World::new().await;
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let body = world.pulls()[0].issue.body.clone().unwrap_or_default();
    for part in
        ["src/cart.rs", "syntax: 1 file parsed, no new errors", "tests: not run", "scripted", "about $"]
    {
        assert!(body.contains(part), "{part} is missing in: {body}");
    }
    assert_eq!(world.simulator.models().calls().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_task_is_carried_out_as_it_says() {
    let world = World::new().await;
    let url = world.simulator.url();
    let body = serde_json::json!({
        "version": 1, "task_id": "01K9ZW4R7M1S8T3V5X7Z9B1D3F", "issue_id": TICKET,
        "repo_url": format!("{url}/{REPOSITORY}"), "base_branch": "main", "mode": "quickfix", "trigger_user": "sam",
        "trigger": {"kind": "cli", "id": ""}, "requested_at": "2026-01-30T12:00:00Z", "forced": false,
    });
    world.publish(&body.to_string()).await;
    world.work_once().await;
    world.assert_fixed().await;
    let message = &world.simulator.github().commits(REPOSITORY, BRANCH)[0].message;
    assert!(message.starts_with("PROJ-1: Charge for every piece in the cart\n"), "{message}");
    assert!(message.contains("Jira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3F"), "{message}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_github_issue_becomes_a_pull_request_that_closes_it() {
    let world = World::new().await;
    let number =
        world.add_github_issue("The total of the cart is wrong", "`Cart::total` ignores the quantity.");
    let url = world.simulator.url();
    let body = serde_json::json!({"repo_url": format!("{url}/{REPOSITORY}"), "issue_id": number, "trigger_user": "sam"});
    world.publish(&body.to_string()).await;
    world.work_once().await;
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1);
    assert_eq!(pulls[0].head, format!("ai-agent/issue-{number}"));
    let text = pulls[0].issue.body.clone().unwrap_or_default();
    assert!(text.contains(&format!("Closes #{number}")), "{text}");
    let comments = world.simulator.github().comments(REPOSITORY, number);
    let reports = comments.iter().filter(|comment| comment.body.contains("I opened pull request")).count();
    assert_eq!(reports, 1, "{comments:?}");
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_proposed_in_a_draft_and_the_ticket_waits() {
    let world = World::speechless().await;
    world.answer(Rule::new(NEEDED, Reply::text(PLAN)).unwrap());
    world.publish(r#"{"issue_id": "PROJ-1", "mode": "plan"}"#).await;
    world.work_once().await;
    let github = world.simulator.github();
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1);
    let pull = &pulls[0];
    assert!(pull.draft);
    assert_eq!(pull.issue.labels, ["ai-agent", "plan-pending"]);
    assert!(pull.reviewers.is_empty(), "nobody reviews a plan that waits for approval");
    let head = &github.commits(REPOSITORY, BRANCH)[0];
    assert!(head.message.contains("\"summary\""), "the plan commit holds the plan: {}", head.message);
    assert!(head.message.contains("Signed-off-by: jira-agent"), "{}", head.message);
    assert_eq!(github.diff(REPOSITORY, "main", BRANCH), "", "a plan changes no file");
    assert!(pull.issue.body.clone().unwrap_or_default().contains(&head.id), "the plan commit is named");
    let on_pull = github.comments(REPOSITORY, pull.issue.number);
    assert_eq!(on_pull.len(), 1);
    assert!(on_pull[0].body.contains("three mugs cost 7.50"), "{}", on_pull[0].body);
    let comments = world.comments();
    assert_eq!(comments.len(), 1);
    assert!(comments[0].contains("I propose a plan"), "{}", comments[0]);
    let issue = world.issue();
    assert_eq!((issue.status.as_str(), issue.assignee.as_deref()), ("To Do", Some(Jira::AGENT)));
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_trigger_that_a_finished_run_has_seen_starts_nothing() {
    let world = World::new().await;
    world.publish(TICKET).await;
    world.publish(TICKET).await;
    world.work_off().await;
    world.assert_fixed().await;
    assert_eq!(world.simulator.models().calls().len(), 1, "the second was superseded");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_is_acknowledged_unseen_when_its_task_comes_again() {
    let world = World::new().await;
    let body = r#"{"task_id": "01K9ZW4R7M1S8T3V5X7Z9B1D3F", "issue_id": "PROJ-1", "forced": true}"#;
    world.publish(body).await;
    world.work_once().await;
    world.publish(body).await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(world.simulator.models().calls().len(), 1);
    world.finish().await;
}
