use jira_agent::config::ModelProvider::Openai;
use serde_json::{Value, json};

use crate::model::testing::{Canned, End, KEY, Service, ask, good, http, refused};
use crate::model::{Model, ModelError, Stop, Usage};

fn sse(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

fn part(delta: Value, finish: Value) -> Value {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish, "logprobs": null});
    json!({"object": "chat.completion.chunk", "model": "big-model-1", "choices": [choice], "usage": null})
}

fn reply(finish: &str) -> String {
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 600}, "completion_tokens_details": {"reasoning_tokens": 20}});
    let chunks = sse(&[
        part(json!({"role": "assistant", "content": ""}), Value::Null),
        part(json!({"content": "Grüße, "}), Value::Null),
        part(json!({"content": "Welt"}), Value::Null),
        part(json!({}), json!(finish)),
        json!({"choices": [], "usage": usage}),
    ]);
    format!(": a comment\n\n{chunks}data: [DONE]\n\n")
}

async fn error(answer: Canned) -> ModelError {
    let service = Service::start([answer]).await;
    ask(&service.impatient(Openai)).await.unwrap_err()
}

#[tokio::test]
async fn a_reply_is_put_together_with_its_usage() {
    let service = Service::start([good(&reply("stop"))]).await;
    let reply = ask(&service.model(Openai)).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("Grüße, Welt", Stop::End));
    assert_eq!(reply.model, "big-model-1");
    let usage = Usage { input: 400, output: 50, cache_write: 0, cache_read: 600 };
    assert_eq!(reply.usage, usage);
}

#[tokio::test]
async fn a_request_asks_for_the_usage_and_sends_no_sampling_parameter() {
    let service = Service::start([good(&reply("stop"))]).await;
    ask(&service.model(Openai)).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
    let body = json!({
        "model": "big-model",
        "messages": [{"role": "system", "content": "You mend code."}, {"role": "user", "content": "Mend it."}],
        "max_completion_tokens": 500,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn a_service_without_a_key_gets_none_and_the_base_address_is_kept() {
    let service = Service::start([good(&reply("stop"))]).await;
    let mut config = service.config(Openai);
    config.api_key = "".into();
    config.base_url = Some(format!("{}/gateway/openai/", service.base).parse().unwrap());
    let model = Model::new(&config, http(std::time::Duration::ZERO)).unwrap();
    ask(&model).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(asked.path, "/gateway/openai/chat/completions");
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn every_finish_reason_has_its_meaning() {
    let why = "the service's content filter".to_owned();
    for (finish, stop) in [
        ("stop", Stop::End),
        ("length", Stop::MaxTokens),
        ("content_filter", Stop::Refusal { why }),
        ("tool_calls", Stop::other("tool_calls")),
        ("function_call", Stop::other("function_call")),
        ("of_a_later_version", Stop::other("of_a_later_version")),
    ] {
        let service = Service::start([good(&reply(finish))]).await;
        assert_eq!(ask(&service.model(Openai)).await.unwrap().stop, stop);
    }
}

#[tokio::test]
async fn a_refusal_in_words_is_a_refusal() {
    let body = sse(&[
        part(json!({"refusal": "I cannot "}), Value::Null),
        part(json!({"refusal": "do that."}), json!("stop")),
    ]);
    let service = Service::start([good(&body)]).await;
    let why = "I cannot do that.".to_owned();
    assert_eq!(ask(&service.model(Openai)).await.unwrap().stop, Stop::Refusal { why });
}

#[tokio::test]
async fn usage_and_the_closing_line_may_be_missing() {
    let body = sse(&[part(json!({"content": "Done"}), json!("stop"))]);
    let service = Service::start([good(&body)]).await;
    let reply = ask(&service.model(Openai)).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.usage), ("Done", Usage::default()));
}

#[tokio::test]
async fn a_stream_without_its_end_is_never_a_reply() {
    let half = sse(&[part(json!({"content": "Half"}), Value::Null)]);
    for ending in [End::Whole, End::Breaks] {
        let error = error(good(&half).ending(ending)).await;
        assert!(matches!(error, ModelError::Interrupted { .. }), "{error}");
    }
    let error = error(good(&half).ending(End::Hangs)).await;
    assert!(matches!(error, ModelError::Stalled { .. }), "{error}");
    let page = self::error(good("<html>Please log in</html>")).await;
    assert!(matches!(page, ModelError::Interrupted { .. }), "{page}");
}

#[tokio::test]
async fn an_error_within_the_stream_is_judged_like_a_status() {
    let failing =
        |error: Value| good(&sse(&[part(json!({"content": "Half"}), Value::Null), json!({"error": error})]));
    let gateway = error(failing(json!({"code": 502, "message": "upstream"}))).await;
    assert!(matches!(gateway, ModelError::Unavailable { status: 502, .. }), "{gateway}");
    let limited = error(failing(json!({"code": "rate_limit_exceeded", "message": "slow down"}))).await;
    assert!(limited.retry_after().is_some(), "{limited}");
    let unpaid = error(failing(json!({"code": "insufficient_quota", "message": "no"}))).await;
    assert!(matches!(unpaid, ModelError::Billing { .. }), "{unpaid}");
    let service = Service::start([failing(json!({"message": "oops"})), good(&reply("stop"))]).await;
    assert_eq!(ask(&service.model(Openai)).await.unwrap().text, "Grüße, Welt");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_an_outcome_wherever_it_is_said() {
    let error = json!({"message": "too many tokens", "type": "invalid_request_error",
        "code": "context_length_exceeded"});
    let body = json!({"error": error});
    for answer in [refused(400, &[], &body.to_string()), good(&sse(&[body]))] {
        let service = Service::start([answer]).await;
        assert_eq!(ask(&service.model(Openai)).await.unwrap().stop, Stop::ContextExceeded);
    }
}

#[tokio::test]
async fn an_unknown_model_names_the_setting() {
    let body = r#"{"error":{"message":"The model `big-model` does not exist","code":"model_not_found"}}"#;
    let error = error(refused(404, &[], body)).await;
    assert!(error.to_string().contains("check model.name") && !error.is_transient(), "{error}");
}
