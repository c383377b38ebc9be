use jira_agent_simulator::jira::Jira;
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{World, ask_control, nothing, read, world};

async fn state(world: &World) -> Value {
    read(world.client.get(world.url("/_state")).send().await.unwrap(), 200).await
}

#[tokio::test]
async fn the_state_shows_every_service() {
    let world = world().await;
    let state = state(&world).await;
    assert_eq!(state["jira"]["issues"][0]["key"], "PROJ-1");
    assert_eq!(state["models"]["calls"], json!([]));
    assert!(state["github"].is_object() && state["faults"].is_array() && state["problems"].is_array());
}

#[tokio::test]
async fn the_journal_can_be_filtered_and_has_no_control_requests() {
    let world = world().await;
    world.get("myself").await;
    world.get("issue/PROJ-1").await;
    let journal = |query: &str| {
        let request = world.client.get(world.url(&format!("/_journal{query}"))).send();
        async move { request.await.unwrap() }
    };
    assert_eq!(read(journal("").await, 200).await["requests"].as_array().unwrap().len(), 2);
    let filtered = read(journal("?service=jira&method=get&path=issue").await, 200).await;
    assert_eq!(filtered["requests"][0]["path"], "/rest/api/3/issue/PROJ-1");
    assert_eq!(read(journal("?service=github").await, 200).await["requests"], json!([]));
    for wrong in ["?path=(", "?service=bugzilla", "?colour=red"] {
        read(journal(wrong).await, 400).await;
    }
}

#[tokio::test]
async fn people_act_on_tickets_through_it() {
    let world = world().await;
    let act = |method, path: &'static str, body: Value| ask_control(&world, method, path, body);
    let made =
        act(Method::POST, "jira/issues/PROJ-1/comments", json!({"author": "dev1", "text": "/approve"})).await;
    assert!(read(made, 201).await["id"].is_string());
    let assigned = json!({"account_id": Jira::AGENT, "by": "dev2"});
    nothing(act(Method::PUT, "jira/issues/PROJ-1/assignee", assigned).await, 204).await;
    nothing(
        act(Method::PUT, "jira/issues/PROJ-1/status", json!({"status": "Done", "by": "dev2"})).await,
        204,
    )
    .await;
    nothing(act(Method::POST, "jira/issues/PROJ-1/labels", json!({"add": ["x"], "by": "dev2"})).await, 204)
        .await;
    nothing(act(Method::POST, "jira/issues", json!({"key": "PROJ-2", "summary": "Two"})).await, 201).await;
    let issue = read(world.client.get(world.url("/_jira/issues/PROJ-1")).send().await.unwrap(), 200).await;
    assert_eq!((&issue["status"], &issue["assignee"]), (&json!("Done"), &json!(Jira::AGENT)));
    assert_eq!(
        (&issue["comments"][0]["text"], &issue["labels"]),
        (&json!("/approve"), &json!(["ai-agent", "x"]))
    );
    assert_eq!(world.get("issue/PROJ-2?fields=summary").await["fields"]["summary"], "Two");
}

#[tokio::test]
async fn faults_and_rules_are_added_and_faults_ended_through_it() {
    let world = world().await;
    let fault = json!({"path": "/myself$", "always": true, "action": {"status": {"code": 503}}});
    nothing(ask_control(&world, Method::POST, "faults", fault).await, 201).await;
    nothing(world.jira(Method::GET, "myself").send().await.unwrap(), 503).await;
    assert_eq!(state(&world).await["faults"][0]["fired"], 1);
    nothing(ask_control(&world, Method::DELETE, "faults", json!({})).await, 204).await;
    world.get("myself").await;
    let rule = json!({"name": "fix", "when": ["price", "quantity"], "reply": "done"});
    nothing(ask_control(&world, Method::POST, "models/rules", rule).await, 201).await;
    let reply = read(world.anthropic(&super::models::ask(false)).send().await.unwrap(), 200).await;
    assert_eq!(reply["content"][0]["text"], "done");
}

#[tokio::test]
async fn a_control_request_that_cannot_be_done_says_why() {
    let world = world().await;
    for (path, body, words) in [
        ("faults", json!({"path": "x", "action": "hang", "tims": 1}), "tims"),
        ("jira/issues/PROJ-1/comments", json!({"author": "ghost", "text": "x"}), "\"ghost\" is no account"),
        ("jira/issues/PROJ-9/comments", json!({"author": "dev1", "text": "x"}), "no issue PROJ-9"),
        ("jira/issues", json!({"key": "PROJ-1"}), "two issues"),
        ("models/rules", json!({"when": "x", "reply_file": "/etc/passwd"}), "scenario files only"),
    ] {
        let answer = read(ask_control(&world, Method::POST, path, body).await, 400).await;
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    read(ask_control(&world, Method::POST, "nowhere", json!({})).await, 404).await;
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn problems_are_read_and_taken_through_it() {
    let world = world().await;
    read(world.jira(Method::GET, "nowhere").send().await.unwrap(), 404).await;
    let url = world.url("/_problems");
    for request in [world.client.get(&url), world.client.delete(&url)] {
        assert_eq!(read(request.send().await.unwrap(), 200).await["problems"].as_array().unwrap().len(), 1);
    }
    world.simulator.assert_no_problems();
}
