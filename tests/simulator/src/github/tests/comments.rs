//! Issues, comments and labels.

use super::*;

#[tokio::test]
async fn a_comment_is_written_changed_and_deleted() {
    let world = World::start().await;
    let id =
        world.post("/issues/1/comments", json!({"body": "First"})).await.expect(201)["id"].as_u64().unwrap();
    let path = format!("/issues/comments/{id}");
    assert_eq!(world.patch(&path, json!({"body": "Second"})).await.expect(200)["body"], "Second");
    assert_eq!(world.get(&path).await.expect(200)["user"]["login"], "ai-bot");
    assert_eq!(world.github.comments(SLUG, 1)[0].body, "Second");
    world.call(Method::DELETE, &path, Value::Null).await.expect(204);
    world.get(&path).await.expect(404);
    assert!(world.github.comments(SLUG, 1).is_empty());
}

#[tokio::test]
async fn only_its_author_and_who_may_push_change_a_comment() {
    let world = World::start().await;
    let id = world.github.add_comment(SLUG, 1, Some("reporter"), "Mine").unwrap();
    world.github.add_token("ghp_guest", "guest");
    let path = format!("/repos/{SLUG}/issues/comments/{id}");
    let request =
        world.request(Method::PATCH, &path).bearer_auth("ghp_guest").json(&json!({"body": "Yours"}));
    let refused = world.answer(request).await;
    assert_eq!(refused.message(), "Resource not accessible by personal access token");
    refused.expect(403);
    world.patch(&format!("/issues/comments/{id}"), json!({"body": "Ours"})).await.expect(200);
}

#[tokio::test]
async fn comments_come_in_pages_with_links_between_them() {
    let world = World::start().await;
    for index in 0..45 {
        world.github.add_comment(SLUG, 1, Some("reporter"), &format!("{index}")).unwrap();
    }
    let first = world.get("/issues/1/comments").await;
    let next = format!("<http://{}/api/v3/repos/{SLUG}/issues/1/comments?page=2>; rel=\"next\"", world.host);
    assert!(first.header("link").contains(&next), "{}", first.header("link"));
    assert_eq!(first.body.as_array().unwrap().len(), 30);
    let third = world.get("/issues/1/comments?per_page=20&page=3").await;
    assert!(third.header("link").contains("rel=\"prev\"") && !third.header("link").contains("rel=\"next\""));
    assert_eq!(third.expect(200)[4]["body"], "44");
    let all = world.get("/issues/1/comments?per_page=500").await;
    assert_eq!((all.header("link"), all.body.as_array().unwrap().len()), ("", 45));
}

#[tokio::test]
async fn comments_older_than_since_are_left_out() {
    let world = World::start().await;
    world.github.add_comment(SLUG, 1, Some("reporter"), "Now").unwrap();
    assert_eq!(
        world.get("/issues/1/comments?since=2026-01-01T00:00:00Z").await.expect(200)[0]["body"],
        "Now"
    );
    assert_eq!(world.get("/issues/1/comments?since=2999-01-01T00:00:00Z").await.expect(200), json!([]));
}

#[tokio::test]
async fn an_empty_or_endless_comment_is_refused() {
    let world = World::start().await;
    for body in ["  ".to_owned(), "x".repeat(65_537)] {
        let refused = world.post("/issues/1/comments", json!({"body": body})).await.expect(422);
        assert_eq!(refused["errors"][0]["resource"], "IssueComment");
    }
    assert!(world.github.comments(SLUG, 1).is_empty());
}

#[tokio::test]
async fn a_body_of_another_form_is_refused_and_reported() {
    let world = World::start().await;
    let path = "/issues/1/comments";
    world.post(path, json!({"body": 1})).await.expect(422);
    world.post(path, json!({"body": "x", "colour": "red"})).await.expect(422);
    world.post(path, json!({})).await.expect(422);
    let request = world.request(Method::POST, &format!("/repos/{SLUG}{path}")).bearer_auth(TOKEN).body("{");
    world.answer(request).await.expect(400);
    world.get("/issues/1/comments?sort=up").await.expect(422);
    let problems = world.problems.take();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems[1].contains("unknown field `colour`"), "{problems:?}");
}

#[tokio::test]
async fn who_no_longer_exists_is_shown_as_null() {
    let world = World::start().await;
    world.github.add_comment(SLUG, 1, Some("leaver"), "Bye").unwrap();
    world.github.remove_user("leaver");
    world.github.remove_user("reporter");
    assert_eq!(world.get("/issues/1/comments").await.expect(200)[0]["user"], Value::Null);
    assert_eq!(world.get("/issues/1").await.expect(200)["user"], Value::Null);
}

#[tokio::test]
async fn labels_are_added_listed_and_removed() {
    let world = World::start().await;
    world
        .post("/labels", json!({"name": "Ready For AI", "color": "123abc", "description": "Go"}))
        .await
        .expect(201);
    let exists = world.post("/labels", json!({"name": "ready for ai"})).await.expect(422);
    assert_eq!(exists["errors"], json!([{"resource": "Label", "code": "already_exists", "field": "name"}]));
    world.post("/issues/1/labels", json!({"labels": ["ready for ai", "ai-agent"]})).await.expect(200);
    world.post("/issues/1/labels", json!([{"name": "ai-agent"}])).await.expect(200);
    assert_eq!(world.github.labels(SLUG, 1), ["Ready For AI", "ai-agent"]);
    let left = world.call(Method::DELETE, "/issues/1/labels/ready%20for%20ai", Value::Null).await.expect(200);
    assert_eq!(left[0]["name"], "ai-agent");
    let missing = world.call(Method::DELETE, "/issues/1/labels/ready%20for%20ai", Value::Null).await;
    assert_eq!(missing.message(), "Label does not exist");
    missing.expect(404);
    assert_eq!(world.get("/issues/1/labels").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_collaborators_can_be_assigned_and_others_are_passed_over() {
    let world = World::start().await;
    world.github.set_permission(SLUG, "dana", Permission::Read).unwrap();
    world.post("/issues/1/assignees", json!({"assignees": ["dana", "stranger"]})).await.expect(201);
    assert_eq!(world.github.issue(SLUG, 1).unwrap().assignees, ["dana"]);
    world.call(Method::DELETE, "/issues/1/assignees", json!({"assignees": ["dana"]})).await.expect(200);
    assert!(world.github.issue(SLUG, 1).unwrap().assignees.is_empty());
}

#[tokio::test]
async fn an_issue_is_closed_and_opened_again() {
    let world = World::start().await;
    let closed =
        world.patch("/issues/1", json!({"state": "closed", "state_reason": "not_planned"})).await.expect(200);
    assert_eq!((&closed["state"], &closed["state_reason"]), (&json!("closed"), &json!("not_planned")));
    let open = world.patch("/issues/1", json!({"state": "open"})).await.expect(200);
    assert_eq!((&open["closed_at"], &open["state_reason"]), (&Value::Null, &json!("reopened")));
}

#[tokio::test]
async fn labels_need_more_than_the_right_to_read() {
    let world = World::start().await;
    world.github.add_token("ghs_reader", "reader[bot]");
    let request =
        world.request(Method::POST, &format!("/repos/{SLUG}/issues/1/labels")).bearer_auth("ghs_reader");
    let refused = world.answer(request.json(&json!(["x"]))).await;
    assert_eq!(refused.message(), "Resource not accessible by integration");
    refused.expect(403);
    assert!(world.github.labels(SLUG, 1).is_empty());
}
