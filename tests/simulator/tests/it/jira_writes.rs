use jira_agent_simulator::jira::{Category, Jira, Status, Transition, Workflow};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{World, document, nothing, read, world};

#[tokio::test]
async fn a_comment_is_made_changed_marked_and_removed() {
    let world = world().await;
    let comments = "issue/PROJ-1/comment";
    let body =
        json!({"body": document("first"), "properties": [{"key": "marker", "value": {"kind": "report"}}]});
    let made = read(world.send(Method::POST, comments, &body).await, 201).await;
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["author"]["accountId"], Jira::AGENT);

    let changed =
        world.send(Method::PUT, &format!("{comments}/{id}"), &json!({"body": document("second")})).await;
    assert_eq!(read(changed, 200).await["body"], document("second"));
    let shown = world.get(&format!("{comments}/{id}?expand=properties")).await;
    assert_eq!(shown["properties"], json!([{"key": "marker", "value": {"kind": "report"}}]));
    let listed = world.get(&format!("{comments}?expand=properties")).await;
    assert_eq!(listed["comments"][0]["properties"], shown["properties"]);
    assert!(world.get(comments).await["comments"][0].get("properties").is_none());

    let property = format!("comment/{id}/properties/round");
    nothing(world.send(Method::PUT, &property, &json!(1)).await, 201).await;
    nothing(world.send(Method::PUT, &property, &json!(2)).await, 200).await;
    assert_eq!(world.get(&property).await, json!({"key": "round", "value": 2}));
    let keys = world.get(&format!("comment/{id}/properties")).await;
    assert_eq!((&keys["keys"][0]["key"], &keys["keys"][1]["key"]), (&json!("marker"), &json!("round")));
    nothing(world.jira(Method::DELETE, &property).send().await.unwrap(), 204).await;

    let snapshot = world.simulator.jira().issue("PROJ-1").unwrap();
    assert_eq!((&*snapshot.comments[0].text, snapshot.comments_by(Jira::AGENT).len()), ("second", 1));
    nothing(world.jira(Method::DELETE, &format!("{comments}/{id}")).send().await.unwrap(), 204).await;
    for gone in [format!("{comments}/{id}"), format!("comment/{id}/properties/marker")] {
        read(world.jira(Method::GET, &gone).send().await.unwrap(), 404).await;
    }
    assert!(world.simulator.jira().issue("PROJ-1").unwrap().comments.is_empty());
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_body_of_another_form_or_type_is_a_problem() {
    let world = world().await;
    for (method, path, body) in [
        (Method::POST, "issue/PROJ-1/comment", json!({"text": "x"})),
        (Method::POST, "issue/PROJ-1/comment", json!({"body": document("x"), "colour": 1})),
        (Method::PUT, "issue/PROJ-1/assignee", json!({"name": "dev1"})),
        (Method::POST, "issue/PROJ-1/transitions", json!({"transition": {"id": 21}})),
        (Method::POST, "issue/PROJ-1/remotelink", json!({"object": {"url": "https://x.example"}})),
        (Method::POST, "issue/PROJ-1/remotelink", json!({"object": {"url": "x", "title": "t"}})),
        (Method::PUT, "issue/PROJ-1", json!({"update": {"labels": [{"append": "x"}]}})),
        (Method::PUT, "issue/PROJ-1", json!({"update": {"labels": [{"add": "two words"}]}})),
        (Method::PUT, "issue/PROJ-1", json!({"fields": {"storyPoints": 3}})),
        (Method::PUT, "issue/PROJ-1/properties/x", json!(null)),
    ] {
        let answer = read(world.send(method.clone(), path, &body).await, 400).await;
        assert!(answer["errorMessages"].is_array() && answer["errors"].is_object(), "{answer}");
        let problem = world.problem();
        assert!(problem.starts_with(&format!("Jira: {method} /rest/api/3/{path}: ")), "{problem}");
    }
    let plain = world.jira(Method::PUT, "issue/PROJ-1/assignee").body("{}").send().await.unwrap();
    read(plain, 415).await;
    assert!(world.problem().contains("application/json"));
}

async fn transition(world: &World, name: &str) -> Option<String> {
    let list = world.get("issue/PROJ-1/transitions").await;
    let list = list["transitions"].as_array().unwrap().clone();
    let found = list.into_iter().find(|it| it["to"]["name"] == name);
    found.map(|it| it["id"].as_str().unwrap().to_owned())
}

async fn take(world: &World, id: &str) -> reqwest::Response {
    world.send(Method::POST, "issue/PROJ-1/transitions", &json!({"transition": {"id": id}})).await
}

#[tokio::test]
async fn the_transitions_ids_depend_on_the_status() {
    let world = world().await;
    let from_start = transition(&world, "In Testing").await.unwrap();
    nothing(take(&world, &transition(&world, "In Progress").await.unwrap()).await, 204).await;
    let later = transition(&world, "In Testing").await.unwrap();
    assert_ne!(from_start, later);
    let refused = read(take(&world, &from_start).await, 400).await;
    assert!(refused["errorMessages"][0].as_str().unwrap().contains("is not valid for this issue"));
    nothing(take(&world, &later).await, 204).await;
    let issue = world.simulator.jira().issue("PROJ-1").unwrap();
    assert_eq!((&*issue.status, issue.transitions()), ("In Testing", vec!["Start work", "Send to testing"]));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_transition_carries_a_comment_and_properties() {
    let world = world().await;
    let id = transition(&world, "Done").await.unwrap();
    let body = json!({
        "transition": {"id": id},
        "update": {"comment": [{"add": {"body": document("done it")}}]},
        "properties": [{"key": "jira-agent", "value": {"runs": 1}}],
    });
    nothing(world.send(Method::POST, "issue/PROJ-1/transitions", &body).await, 204).await;
    let issue = world.simulator.jira().issue("PROJ-1").unwrap();
    assert_eq!((&*issue.status, &*issue.comments[0].text), ("Done", "done it"));
    assert_eq!(issue.properties["jira-agent"], json!({"runs": 1}));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_required_screen_field_is_shown_and_enforced() {
    let world = world().await;
    world.simulator.jira().require_field("Done", "resolution");
    let list = world.get("issue/PROJ-1/transitions?expand=transitions.fields").await;
    let done =
        list["transitions"].as_array().unwrap().iter().find(|it| it["to"]["name"] == "Done").unwrap().clone();
    let field = &done["fields"]["resolution"];
    assert_eq!((&done["hasScreen"], &field["required"]), (&json!(true), &json!(true)));
    assert_eq!(field["allowedValues"][0]["name"], "Done");
    let missing = read(take(&world, done["id"].as_str().unwrap()).await, 400).await;
    assert_eq!(missing["errors"], json!({"resolution": "Resolution is required."}));
    world.simulator.assert_no_problems();

    let send = |fields: Value| {
        let body = json!({"transition": {"id": done["id"]}, "fields": fields});
        let world = &world;
        async move { world.send(Method::POST, "issue/PROJ-1/transitions", &body).await }
    };
    read(send(json!({"resolution": {"name": "Sideways"}})).await, 400).await;
    assert!(world.problem().contains("Resolution is not valid"));
    read(send(json!({"resolution": {"name": "Done"}, "summary": "x"})).await, 400).await;
    assert!(world.problem().contains("not on the appropriate screen"));
    nothing(send(json!({"resolution": {"name": "Done"}})).await, 204).await;
    let issue = world.simulator.jira().issue("PROJ-1").unwrap();
    assert_eq!((&*issue.status, issue.resolution.as_deref()), ("Done", Some("Done")));
}

#[tokio::test]
async fn without_the_right_to_transition_the_list_is_empty() {
    let world = world().await;
    let id = transition(&world, "Done").await.unwrap();
    world.simulator.jira().set_empty_transitions(true);
    assert_eq!(world.get("issue/PROJ-1/transitions").await["transitions"], json!([]));
    read(take(&world, &id).await, 400).await;
    assert_eq!(world.simulator.jira().issue("PROJ-1").unwrap().status, "To Do");
}

#[tokio::test]
async fn a_workflow_of_ones_own_replaces_the_default() {
    let world = world().await;
    let status = |name: &str| Status { name: name.into(), category: Category::New };
    let transition = |from: Option<&str>, to: &str| Transition {
        name: format!("to {to}"),
        from: from.map(str::to_owned),
        to: to.into(),
    };
    let statuses = vec![status("To Do"), status("Review"), status("Archive")];
    let transitions = vec![transition(Some("To Do"), "Review"), transition(None, "Archive")];
    let jira = world.simulator.jira();
    jira.set_workflow(Workflow { statuses: statuses.clone(), transitions }).unwrap();
    let list = world.get("issue/PROJ-1/transitions").await["transitions"].clone();
    assert_eq!((&list[0]["name"], &list[0]["isGlobal"]), (&json!("to Review"), &json!(false)));
    assert_eq!((&list[1]["name"], &list[1]["isGlobal"]), (&json!("to Archive"), &json!(true)));
    let broken = Workflow { statuses, transitions: vec![lost()] };
    assert!(jira.set_workflow(broken).unwrap_err().to_string().contains("\"Nowhere\""));
}

fn lost() -> Transition {
    Transition { name: "lose".into(), from: None, to: "Nowhere".into() }
}

#[tokio::test]
async fn only_accounts_that_are_open_can_be_assigned() {
    let world = world().await;
    let mut closed = jira_agent_simulator::jira::User {
        account_id: "left".into(),
        name: "Left".into(),
        email: String::new(),
        active: false,
    };
    world.simulator.jira().add_user(closed.clone());
    let assign = |account: Value| {
        let body = json!({"accountId": account});
        let world = &world;
        async move { world.send(Method::PUT, "issue/PROJ-1/assignee", &body).await }
    };
    nothing(assign(json!("dev2")).await, 204).await;
    assert_eq!(world.simulator.jira().issue("PROJ-1").unwrap().assignee.as_deref(), Some("dev2"));
    for account in ["ghost", "left"] {
        let refused = read(assign(json!(account)).await, 400).await;
        assert!(refused["errors"]["assignee"].as_str().unwrap().contains(account));
    }
    nothing(assign(Value::Null).await, 204).await;
    assert_eq!(world.simulator.jira().issue("PROJ-1").unwrap().assignee, None);
    closed.active = true;
    world.simulator.jira().add_user(closed);
    nothing(assign(json!("left")).await, 204).await;
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_remote_link_is_replaced_whole_by_its_global_id() {
    let world = world().await;
    let links = "issue/PROJ-1/remotelink";
    let object = json!({"url": "https://example.com/pull/1", "title": "PR 1", "summary": "fix"});
    let body = json!({"globalId": "pr:1", "relationship": "pull request", "object": object});
    let made = read(world.send(Method::POST, links, &body).await, 201).await;
    let object = json!({"url": "https://example.com/pull/1", "title": "PR 1", "status": {"resolved": true}});
    let again = json!({"globalId": "pr:1", "object": object});
    let replaced = read(world.send(Method::POST, links, &again).await, 200).await;
    assert_eq!(made["id"], replaced["id"]);
    let list = world.get(links).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["object"], list[0].get("relationship")), (&object, None));
    assert_eq!(world.get(&format!("{links}?globalId=pr:1")).await["id"], made["id"]);
    read(world.jira(Method::GET, &format!("{links}?globalId=pr:2")).send().await.unwrap(), 404).await;
    nothing(world.jira(Method::DELETE, &format!("{links}?globalId=pr:1")).send().await.unwrap(), 204).await;
    assert!(world.simulator.jira().issue("PROJ-1").unwrap().remote_links.is_empty());
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn an_issue_property_is_made_replaced_and_removed() {
    let world = world().await;
    let path = "issue/PROJ-1/properties/jira-agent";
    read(world.jira(Method::GET, path).send().await.unwrap(), 404).await;
    nothing(world.send(Method::PUT, path, &json!({"runs": 1})).await, 201).await;
    nothing(world.send(Method::PUT, path, &json!({"runs": 2})).await, 200).await;
    assert_eq!(world.get(path).await, json!({"key": "jira-agent", "value": {"runs": 2}}));
    assert_eq!(world.get("issue/PROJ-1/properties").await["keys"][0]["key"], "jira-agent");
    nothing(world.jira(Method::DELETE, path).send().await.unwrap(), 204).await;
    read(world.jira(Method::DELETE, path).send().await.unwrap(), 404).await;
    world.simulator.assert_no_problems();
    let long = json!("x".repeat(32_767));
    read(world.send(Method::PUT, path, &long).await, 400).await;
    assert!(world.problem().contains("32768"));
}

#[tokio::test]
async fn labels_are_added_and_removed() {
    let world = world().await;
    let body =
        json!({"update": {"labels": [{"add": "in-review"}, {"add": "in-review"}, {"remove": "ai-agent"}]}});
    nothing(world.send(Method::PUT, "issue/PROJ-1", &body).await, 204).await;
    assert_eq!(world.simulator.jira().issue("PROJ-1").unwrap().labels, ["in-review"]);
    let body = json!({"fields": {"labels": ["b", "a"], "summary": "New title"}});
    let shown = read(world.send(Method::PUT, "issue/PROJ-1?returnIssue=true", &body).await, 200).await;
    assert_eq!(
        (&shown["fields"]["labels"], &shown["fields"]["summary"]),
        (&json!(["a", "b"]), &json!("New title"))
    );
    read(world.send(Method::PUT, "issue/PROJ-9", &body).await, 404).await;
    world.simulator.assert_no_problems();
}
