use reqwest::Method;
use serde_json::json;

use super::support::{document, read, world};

const COMMENTS: &str = "issue/PROJ-1/comment";

#[tokio::test]
async fn a_body_that_is_no_document_is_refused_in_jiras_form_and_is_a_problem() {
    let world = world().await;
    for (body, reason) in [
        (json!("plain text"), "not a text"),
        (json!({"version": 1, "type": "doc", "content": [{"type": "html"}]}), "html"),
        (document(""), "empty"),
    ] {
        let response = world.send(Method::POST, COMMENTS, &json!({"body": body})).await;
        let answer = read(response, 400).await;
        assert_eq!(answer["errorMessages"], json!([]));
        assert!(answer["errors"]["comment"].as_str().unwrap().contains(reason), "{answer}");
        assert!(world.problem().starts_with("Jira: POST /rest/api/3/issue/PROJ-1/comment: "));
    }
    assert!(world.simulator.jira().issue("PROJ-1").unwrap().comments.is_empty());
}

#[tokio::test]
async fn a_comment_may_have_32767_characters_and_no_more() {
    let world = world().await;
    let send = |length: usize| {
        let body = json!({"body": document(&"x".repeat(length))});
        let world = &world;
        async move { world.send(Method::POST, COMMENTS, &body).await }
    };
    read(send(32_767).await, 201).await;
    let answer = read(send(32_768).await, 400).await;
    assert!(answer["errors"]["comment"].as_str().unwrap().contains("32,767"));
    assert!(world.problem().contains("32,767"));
}
