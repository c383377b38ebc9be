//! Credentials, versions and limits.

use super::*;
use crate::github::answers;

#[tokio::test]
async fn wrong_and_missing_credentials_are_told_apart() {
    let world = World::start().await;
    let wrong = world.answer(world.request(Method::GET, "/user").bearer_auth("ghp_wrong")).await;
    assert_eq!((wrong.status, wrong.message()), (401, "Bad credentials"));
    let missing = world.answer(world.request(Method::GET, "/user")).await;
    assert_eq!((missing.status, missing.message()), (401, "Requires authentication"));
    let comment =
        world.request(Method::POST, &format!("/repos/{SLUG}/issues/1/comments")).json(&json!({"body": "x"}));
    world.answer(comment).await.expect(401);
    world.answer(world.request(Method::GET, &format!("/repos/{SLUG}/issues/1"))).await.expect(200);
}

#[tokio::test]
async fn a_token_expires_in_the_middle_of_a_run() {
    let world = World::start().await;
    world.github.expire_token_after(TOKEN, 1);
    world.get("/issues/1").await.expect(200);
    assert_eq!(world.get("/issues/1").await.expect(401)["message"], "Bad credentials");
    world.github.set_private(SLUG, true).unwrap();
    let clone = world.git(world.folder.path(), &["clone", "-q", &world.remote(TOKEN), "clone"]).await;
    assert!(errors(&clone).contains("Authentication failed"), "{}", errors(&clone));
}

#[tokio::test]
async fn the_primary_limit_says_when_it_ends() {
    let world = World::start().await;
    world.github.limit_requests(TOKEN, 1, Duration::from_secs(600));
    let last = world.get("/issues/1").await;
    assert_eq!((last.status, last.header("x-ratelimit-remaining")), (200, "0"));
    let over = world.get("/issues/1").await;
    assert_eq!(
        (over.status, over.header("x-ratelimit-remaining"), over.header("retry-after")),
        (403, "0", "")
    );
    let wait = over.header("x-ratelimit-reset").parse::<i64>().unwrap() - super::super::state::now_seconds();
    assert!((500..=600).contains(&wait), "{wait}");
    let asked = world.answer(world.request(Method::GET, "/rate_limit").bearer_auth(TOKEN)).await.expect(200);
    assert_eq!(asked["resources"]["core"]["remaining"], 0);
    world.github.limit_requests(TOKEN, 0, Duration::ZERO);
    world.get("/issues/1").await.expect(200);
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_limit() {
    let world = World::start().await;
    let answer = world.get("/issues/99").await;
    for name in ["limit", "remaining", "used", "reset", "resource"] {
        assert_ne!(answer.header(&format!("x-ratelimit-{name}")), "", "{name}");
    }
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_ne!(answer.header("x-github-request-id"), "");
}

#[test]
fn the_secondary_limit_comes_with_and_without_retry_after() {
    let (status, headers, body) = answers::secondary_limit(Some(7));
    assert_eq!((status, headers), (403, vec![("retry-after".to_owned(), "7".to_owned())]));
    assert!(body["message"].as_str().unwrap().contains("secondary rate limit"));
    assert!(answers::secondary_limit(None).1.is_empty());
}

#[tokio::test]
async fn a_request_without_user_agent_is_forbidden_and_reported() {
    let world = World::start().await;
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    let refused =
        world.answer(bare.get(format!("http://{}/api/v3/user", world.host)).bearer_auth(TOKEN)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.as_str().unwrap().contains("User-Agent"));
    assert_eq!(world.problems.take().len(), 1);
}

#[tokio::test]
async fn an_unknown_version_is_refused_and_the_lean_one_drops_what_is_doubled() {
    let world = World::start().await;
    let number = world.open_pull("ai/PROJ-1").await;
    let in_version = async |version: &str, path: &str| {
        let request =
            world.request(Method::GET, path).bearer_auth(TOKEN).header("x-github-api-version", version);
        world.answer(request).await
    };
    let path = format!("/repos/{SLUG}/pulls/{number}");
    let old = in_version("2022-11-28", &path).await.expect(200);
    assert!(old.get("merge_commit_sha").is_some() && old.get("assignee").is_some());
    let lean = in_version("2026-03-10", &path).await.expect(200);
    assert!(lean.get("merge_commit_sha").is_none() && lean.get("assignee").is_none());
    assert!(in_version("2026-03-10", "/rate_limit").await.expect(200).get("rate").is_none());
    in_version("2020-01-01", &path).await.expect(400);
    assert_eq!(world.problems.take().len(), 1);
}
