use jira_agent_simulator::jira::{IssueSeed, Jira};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{World, read, world};

/// PROJ-1 of [`world`] and four more.
async fn full() -> World {
    let world = world().await;
    let jira = world.simulator.jira();
    let seed = |key: &str, labels: &[&str], assignee: Option<&str>| IssueSeed {
        key: key.into(),
        summary: format!("Ticket {key}"),
        labels: labels.iter().map(|&label| label.into()).collect(),
        assignee: assignee.map(str::to_owned),
        ..IssueSeed::default()
    };
    jira.add_issue(seed("PROJ-2", &["ai-agent", "bug"], None)).unwrap();
    jira.add_issue(seed("PROJ-3", &[], Some(Jira::AGENT))).unwrap();
    jira.add_issue(seed("OTHER-1", &["bug"], Some("dev2"))).unwrap();
    jira.add_issue(IssueSeed { status: Some("Done".into()), ..seed("PROJ-4", &["ai-agent"], None) }).unwrap();
    world
}

async fn keys(world: &World, jql: &str) -> Vec<String> {
    let body = json!({"jql": jql, "fields": ["key", "status"], "maxResults": 100});
    let answer = read(world.send(Method::POST, "search/jql", &body).await, 200).await;
    assert_eq!(answer["isLast"], true);
    let keys = answer["issues"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap().to_owned());
    keys.collect()
}

#[tokio::test]
async fn queries_find_what_they_say() {
    let world = full().await;
    for (jql, expected) in [
        ("project = PROJ ORDER BY key ASC", "PROJ-1 PROJ-2 PROJ-3 PROJ-4"),
        ("project in (OTHER, PROJ) AND labels = bug order by key", "OTHER-1 PROJ-2"),
        ("labels = ai-agent AND statusCategory != Done ORDER BY created DESC", "PROJ-2 PROJ-1"),
        ("status = \"To Do\" and assignee is EMPTY", "PROJ-2"),
        ("assignee = currentUser()", "PROJ-3"),
        ("assignee in (\"Dev One\", dev2) ORDER BY created", "PROJ-1 OTHER-1"),
        ("NOT labels = bug AND labels is not empty ORDER BY key DESC", "PROJ-4 PROJ-1"),
        ("(labels = bug OR status = Done) AND project = PROJ ORDER BY key", "PROJ-2 PROJ-4"),
        ("summary ~ \"wrong\"", "PROJ-1"),
        ("key in (PROJ-4, PROJ-2) order by status, key", "PROJ-4 PROJ-2"),
        ("updated >= -5m AND project = OTHER", "OTHER-1"),
        ("updated < \"2020-01-01 00:00\"", ""),
        ("created > 2020/01/01 and labels not in (bug)  order by key", "PROJ-1 PROJ-4"),
    ] {
        assert_eq!(keys(&world, jql).await.join(" "), expected, "{jql}");
    }
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn an_unbounded_or_wrong_query_is_refused() {
    let world = full().await;
    for (jql, words) in [
        ("", "Unbounded JQL"),
        ("order by created", "Unbounded JQL"),
        ("sprint = 3", "'sprint' does not exist"),
        ("project PROJ", "expecting an operator"),
        ("project = ", "expecting a word"),
        ("project = PROJ and", "expecting a word"),
        ("(project = PROJ", "expecting ')'"),
        ("project = \"PROJ", "not closed"),
        ("project = PROJ project = X", "not expected"),
        ("updated > yesterday", "Date value"),
        ("summary > 3", "cannot be used"),
        ("project = PROJ order by rank", "Not able to sort"),
    ] {
        let answer = read(world.send(Method::POST, "search/jql", &json!({"jql": jql})).await, 400).await;
        assert!(answer["errorMessages"][0].as_str().unwrap().contains(words), "{jql}: {answer}");
        assert!(world.problem().contains("search/jql"));
    }
    let body = json!({"jql": "project = PROJ", "startAt": 0});
    read(world.send(Method::POST, "search/jql", &body).await, 400).await;
    assert!(world.problem().contains("startAt"));
}

#[tokio::test]
async fn results_come_in_pages_by_token_and_only_ids_unless_asked() {
    let world = full().await;
    world.simulator.jira().set_page_limit(3);
    let get = |token: Option<String>| {
        let mut query =
            vec![("jql", "project = PROJ order by key".to_owned()), ("maxResults", "100".to_owned())];
        query.extend(token.map(|token| ("nextPageToken", token)));
        let request = world.jira(Method::GET, "search/jql").query(&query);
        async move { request.send().await.unwrap() }
    };
    let first = read(get(None).await, 200).await;
    assert_eq!(first["issues"].as_array().unwrap().len(), 3);
    let ids_only = first["issues"].as_array().unwrap().iter().all(|it| it.as_object().unwrap().len() == 1);
    assert!(ids_only && first["isLast"] == false, "{first}");
    let token = first["nextPageToken"].as_str().unwrap().to_owned();
    let last = read(get(Some(token)).await, 200).await;
    assert_eq!((last["issues"].as_array().unwrap().len(), &last["isLast"]), (1, &json!(true)));
    assert!(last.get("nextPageToken").is_none());
    world.simulator.assert_no_problems();
    read(get(Some("bogus".into())).await, 400).await;
    assert!(world.problem().contains("nextPageToken"));
}

#[tokio::test]
async fn a_stale_search_misses_what_is_new_until_it_is_reconciled() {
    let world = full().await;
    let jira = world.simulator.jira();
    jira.set_stale_search(true);
    jira.add_issue(IssueSeed { key: "PROJ-5".into(), ..IssueSeed::default() }).unwrap();
    jira.label("PROJ-3", &["ai-agent".into()], &[], "dev1").unwrap();
    assert_eq!(
        keys(&world, "project = PROJ AND labels = ai-agent order by key").await,
        ["PROJ-1", "PROJ-2", "PROJ-4"]
    );
    let new = jira.issue("PROJ-5").unwrap().id;
    let body = json!({"jql": "key = PROJ-5", "fields": ["key"], "reconcileIssues": [new]});
    let answer = read(world.send(Method::POST, "search/jql", &body).await, 200).await;
    assert_eq!(answer["issues"][0]["key"], "PROJ-5");
    jira.set_stale_search(false);
    assert_eq!(
        keys(&world, "labels = ai-agent order by key").await,
        ["PROJ-1", "PROJ-2", "PROJ-3", "PROJ-4"]
    );
}

#[tokio::test]
async fn properties_and_transitions_come_with_the_results() {
    let world = full().await;
    world.simulator.jira().set_property("PROJ-1", "jira-agent", json!(7)).unwrap();
    let body = json!({
        "jql": "key = PROJ-1", "fields": ["summary"], "properties": ["jira-agent"], "expand": "names,transitions",
    });
    let answer = read(world.send(Method::POST, "search/jql", &body).await, 200).await;
    let issue = &answer["issues"][0];
    assert_eq!(
        (&issue["properties"], &issue["fields"]["summary"]),
        (&json!({"jira-agent": 7}), &json!("The total is wrong"))
    );
    assert_eq!(issue["transitions"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn the_old_search_is_gone() {
    let world = full().await;
    for version in ["2", "3", "latest"] {
        let url = world.url(&format!("/rest/api/{version}/search?jql=x"));
        let answer: Value = read(world.client.get(url).send().await.unwrap(), 410).await;
        assert!(answer["errorMessages"][0].as_str().unwrap().contains("/rest/api/3/search/jql"));
        assert!(world.problem().contains("has been removed"));
    }
}
