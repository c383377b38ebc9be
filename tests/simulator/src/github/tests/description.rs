//! The answers hold what the public description of the API requires, and nothing it does not know.

use serde_json::{Value, json};

use super::*;

/// What is wrong with a value, in the eyes of a part of the description.
fn faults(description: &Value, part: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = part["$ref"].as_str() {
        return faults(description, &description[name], value, at);
    }
    if value.is_null() && part["nullable"] == true {
        return Vec::new();
    }
    if let Some(choices) = part["anyOf"].as_array() {
        let tried: Vec<_> = choices.iter().map(|choice| faults(description, choice, value, at)).collect();
        let fits = tried.iter().any(Vec::is_empty);
        return if fits { Vec::new() } else { tried.concat() };
    }
    let fits = match part["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits || part["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        return vec![format!("{at} is {value}, not {part}")];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(faults(description, &part["items"], item, &format!("{at}[]")));
    }
    for name in part["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}.{name} is missing"));
        }
    }
    let known = part["properties"].as_object().filter(|known| !known.is_empty());
    for (name, inner) in value.as_object().into_iter().flatten() {
        match known.map(|known| known.get(name)) {
            Some(Some(part)) => found.extend(faults(description, part, inner, &format!("{at}.{name}"))),
            Some(None) => found.push(format!("{at}.{name} is not in the description")),
            None => {}
        }
    }
    found
}

#[track_caller]
fn assert_fits(name: &str, value: &Value) {
    let description: Value = serde_json::from_str(include_str!("description.json")).unwrap();
    assert!(description[name].is_object(), "{name} is not in the description");
    assert_eq!(faults(&description, &description[name], value, name), Vec::<String>::new());
}

#[tokio::test]
async fn answers_about_issues_fit_the_public_description() {
    let world = World::start().await;
    world.github.add_comment(SLUG, 1, None, "From somebody who left").unwrap();
    assert_fits(
        "label",
        &world.post("/labels", json!({"name": "ai agent/x", "color": "00ff00"})).await.expect(201),
    );
    assert_fits(
        "issue-comment",
        &world.post("/issues/1/comments", json!({"body": "Hello"})).await.expect(201),
    );
    for comment in world.get("/issues/1/comments").await.expect(200).as_array().unwrap() {
        assert_fits("issue-comment", comment);
    }
    for label in
        world.post("/issues/1/labels", json!({"labels": ["ai-agent"]})).await.expect(200).as_array().unwrap()
    {
        assert_fits("label", label);
    }
    assert_fits(
        "issue",
        &world.post("/issues/1/assignees", json!({"assignees": ["ai-bot"]})).await.expect(201),
    );
    assert_fits("issue", &world.patch("/issues/1", json!({"state": "closed"})).await.expect(200));
    assert_fits("issue", &world.get("/issues/1").await.expect(200));
    let number = world.open_pull("ai/PROJ-1").await;
    assert_fits("issue", &world.get(&format!("/issues/{number}")).await.expect(200));
}

#[tokio::test]
async fn answers_about_pull_requests_fit_the_public_description() {
    let world = World::start().await;
    world.github.set_permission(SLUG, "dana", Permission::Triage).unwrap();
    world.github.add_team(SLUG, "reviewers").unwrap();
    let number = world.open_pull("ai/PROJ-1").await;
    let path = format!("/pulls/{number}");
    world.post(&format!("/issues/{number}/labels"), json!(["ai-agent"])).await.expect(200);
    world.post(&format!("/issues/{number}/assignees"), json!({"assignees": ["dana"]})).await.expect(201);
    let reviewers = json!({"reviewers": ["dana"], "team_reviewers": ["reviewers"]});
    let asked = world.post(&format!("{path}/requested_reviewers"), reviewers).await.expect(201);
    assert_fits("pull-request-simple", &asked);
    assert_fits("pull-request", &world.get(&path).await.expect(200));
    assert_fits("pull-request", &world.patch(&path, json!({"title": "Better"})).await.expect(200));
    assert_fits("pull-request-simple", &world.get("/pulls").await.expect(200)[0]);
    world.github.merge_pull(SLUG, number, "dana").unwrap();
    assert_fits("pull-request", &world.get(&path).await.expect(200));
    world.github.remove_user("ai-bot");
    assert_fits("pull-request-simple", &world.get("/pulls?state=all").await.expect(200)[0]);
}

#[tokio::test]
async fn answers_about_the_repository_fit_the_public_description() {
    let world = World::start().await;
    assert_fits("full-repository", &world.get("").await.expect(200));
    assert_fits("branch-with-protection", &world.get("/branches/main").await.expect(200));
    assert_fits("commit", &world.get("/commits/main").await.expect(200));
    assert_fits("git-ref", &world.get("/git/ref/heads/main").await.expect(200));
    assert_fits("content-file", &world.get("/contents/src/cart.rs").await.expect(200));
    assert_fits("content-directory", &world.get("/contents/src").await.expect(200));
    let permission = world.get("/collaborators/ai-bot/permission").await.expect(200);
    assert_fits("repository-collaborator-permission", &permission);
    let user = world.answer(world.request(Method::GET, "/user").bearer_auth(TOKEN)).await;
    assert_fits("private-user", &user.expect(200));
    let limit = world.answer(world.request(Method::GET, "/rate_limit").bearer_auth(TOKEN)).await;
    assert_fits("rate-limit-overview", &limit.expect(200));
    assert_fits("basic-error", &world.get("/issues/99").await.expect(404));
    let mut refused = world.post("/labels", json!({"name": "x", "color": "red"})).await.expect(422);
    // GitHub sends it here too, though only the description of other errors has it.
    assert_eq!(refused.as_object_mut().unwrap().remove("status"), Some(json!("422")));
    assert_fits("validation-error", &refused);
}

#[test]
fn what_is_missing_ill_typed_or_unknown_is_found() {
    let description =
        json!({"link": {"type": "object", "required": ["href"], "properties": {"href": {"type": "string"}}}});
    let found = |value| faults(&description, &json!({"$ref": "link"}), &value, "link").len();
    assert_eq!(
        [found(json!({"href": "x"})), found(json!({"href": 1})), found(json!({})), found(json!([]))],
        [0, 1, 1, 1]
    );
    assert_eq!(found(json!({"href": "x", "more": 1})), 1);
}
