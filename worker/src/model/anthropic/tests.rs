use std::time::{Duration, Instant};

use jira_agent::config::ModelProvider::Anthropic;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::model::testing::{End, IDLE, KEY, Service, ask, good, question, refused};
use crate::model::{Message, Model, ModelError, Stop, Usage};

fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

fn start() -> Value {
    let usage = json!({"input_tokens": 30, "output_tokens": 1, "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 4000});
    json!({"type": "message_start", "message": {"model": "big-model-20261101", "role": "assistant", "usage": usage}})
}

fn block(index: u64, kind: &str) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}})
}

fn text(index: u64, text: &str) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}})
}

fn end(delta: Value) -> Vec<Value> {
    let usage = json!({"output_tokens": 77, "cache_read_input_tokens": null});
    vec![json!({"type": "message_delta", "delta": delta, "usage": usage}), json!({"type": "message_stop"})]
}

fn reply(delta: Value) -> String {
    let mut events = vec![
        start(),
        json!({"type": "ping"}),
        block(0, "thinking"),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "abc"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "of_a_later_version", "anything": [1, {}]}),
        block(1, "text"),
        text(1, "Grüße, "),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "of_a_later_version", "x": 1}}),
        text(1, "Welt"),
    ];
    events.extend(end(delta));
    sse(&events)
}

fn ended() -> String {
    reply(json!({"stop_reason": "end_turn", "stop_details": null}))
}

#[tokio::test]
async fn a_reply_is_put_together_with_its_usage() {
    let service = Service::start([good(&ended())]).await;
    let reply = ask(&service.model(Anthropic)).await.unwrap();
    assert_eq!((reply.text.as_str(), &reply.stop), ("Grüße, Welt", &Stop::End));
    assert_eq!(reply.model, "big-model-20261101");
    let usage = Usage { input: 30, output: 77, cache_write: 200, cache_read: 4000 };
    assert_eq!(reply.usage, usage);
}

#[tokio::test]
async fn a_request_names_the_version_and_no_sampling_parameter() {
    let service = Service::start([good(&ended())]).await;
    let mut request = question(&"context ".repeat(1000));
    request.messages.push(Message::assistant("a patch"));
    request.messages.push(Message::user("mend it"));
    let model = service.model(Anthropic);
    model.complete(&request, &CancellationToken::new()).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(asked.path, "/v1/messages");
    assert_eq!(asked.headers["anthropic-version"], "2026-10-21");
    assert_eq!(asked.headers["x-api-key"], KEY);
    let fields: Vec<&String> = asked.body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["max_tokens", "messages", "model", "stream", "system"]);
    assert_eq!(asked.body["max_tokens"], 500);
    let ephemeral = json!({"type": "ephemeral"});
    assert_eq!(asked.body["system"][0]["cache_control"], ephemeral);
    let messages = asked.body["messages"].as_array().unwrap();
    assert_eq!(messages[0]["content"][0]["cache_control"], ephemeral);
    assert_eq!(messages[2]["content"][0], json!({"type": "text", "text": "mend it"}));
}

#[tokio::test]
async fn nothing_is_marked_for_the_cache_unless_asked() {
    let service = Service::start([good(&ended())]).await;
    let mut request = question(&"context ".repeat(1000));
    request.cache = false;
    let model = service.model(Anthropic);
    model.complete(&request, &CancellationToken::new()).await.unwrap();
    assert!(!service.asked()[0].body.to_string().contains("cache_control"));
}

#[tokio::test]
async fn every_stop_reason_has_its_meaning() {
    let refusal = json!({"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber",
        "explanation": "This looks like malware."}});
    let why = "cyber: This looks like malware.".to_owned();
    for (delta, stop) in [
        (json!({"stop_reason": "end_turn"}), Stop::End),
        (json!({"stop_reason": "stop_sequence", "stop_sequence": "x"}), Stop::End),
        (json!({"stop_reason": "max_tokens"}), Stop::MaxTokens),
        (json!({"stop_reason": "model_context_window_exceeded"}), Stop::ContextExceeded),
        (refusal, Stop::Refusal { why }),
        (json!({"stop_reason": "refusal"}), Stop::Refusal { why: "no reason given".to_owned() }),
        (json!({"stop_reason": "tool_use"}), Stop::other("tool_use")),
        (json!({"stop_reason": "of_a_later_version"}), Stop::other("of_a_later_version")),
        (json!({}), Stop::other("none given")),
    ] {
        let service = Service::start([good(&reply(delta))]).await;
        let reply = ask(&service.model(Anthropic)).await.unwrap();
        assert_eq!(reply.stop, stop);
    }
}

#[tokio::test]
async fn a_paused_turn_is_sent_back_as_it_is() {
    let service = Service::start([good(&reply(json!({"stop_reason": "pause_turn"}))), good(&ended())]).await;
    let reply = ask(&service.model(Anthropic)).await.unwrap();
    assert_eq!(reply.text, "Grüße, WeltGrüße, Welt");
    assert_eq!((reply.usage.output, reply.stop), (154, Stop::End));
    let messages = service.asked()[1].body["messages"].clone();
    let blocks = json!([{"type": "thinking", "thinking": "hm", "signature": "abc"},
        {"type": "text", "text": "Grüße, Welt"}]);
    assert_eq!(messages[1], json!({"role": "assistant", "content": blocks}));
}

#[tokio::test]
async fn a_turn_that_always_pauses_ends() {
    let paused = reply(json!({"stop_reason": "pause_turn"}));
    let service = Service::start((0..9).map(|_| good(&paused))).await;
    let reply = ask(&service.model(Anthropic)).await.unwrap();
    let reason = "pause_turn".to_owned();
    assert_eq!((service.asked().len(), reply.stop), (5, Stop::Other { reason }));
}

/// Asks a model that tries once, and gives the error.
async fn error(answer: crate::model::testing::Canned) -> ModelError {
    let service = Service::start([answer]).await;
    ask(&service.impatient(Anthropic)).await.unwrap_err()
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_given_up() {
    let error = error(good(&sse(&[start(), text(0, "Half a")])).ending(End::Hangs)).await;
    assert!(matches!(error, ModelError::Stalled { after, .. } if after == IDLE), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut service = Service::start([]).await;
    service.base = format!("http://{}", listener.local_addr().unwrap());
    let error = ask(&service.impatient(Anthropic)).await.unwrap_err();
    assert!(matches!(error, ModelError::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn a_reply_that_trickles_ends_with_the_whole_time_out() {
    let service = Service::start([good(&sse(&[start()])).ending(End::Hangs)]).await;
    let mut config = service.config(Anthropic);
    (config.idle_timeout, config.timeout) = (Duration::from_secs(60), IDLE);
    let model = Model::new(&config, crate::model::testing::http(Duration::from_secs(60))).unwrap();
    let error = ask(&model).await.unwrap_err();
    assert!(matches!(error, ModelError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_without_its_end_is_never_a_reply() {
    let whole = ended();
    let (cut, _) = whole.rsplit_once("event: message_stop").unwrap();
    for ending in [End::Whole, End::Breaks] {
        let error = error(good(cut).ending(ending)).await;
        assert!(error.is_transient() && matches!(error, ModelError::Interrupted { .. }), "{error}");
    }
    let error = error(good("data: {\"type\": \n\n")).await;
    assert!(matches!(error, ModelError::Interrupted { .. }), "{error}");
}

#[tokio::test]
async fn an_error_after_the_200_is_judged_like_a_status() {
    let event = |kind: &str| {
        let error = json!({"type": kind, "message": "no luck"});
        good(&sse(&[start(), text(0, "Half"), json!({"type": "error", "error": error})]))
    };
    let overloaded = error(event("overloaded_error")).await;
    assert!(matches!(overloaded, ModelError::Unavailable { status: 529, .. }), "{overloaded}");
    let billing = error(event("billing_error")).await;
    assert!(matches!(billing, ModelError::Billing { .. }), "{billing}");
    let service = Service::start([event("api_error"), good(&ended())]).await;
    assert_eq!(ask(&service.model(Anthropic)).await.unwrap().text, "Grüße, Welt");
}

#[tokio::test]
async fn a_limit_and_an_overload_are_waited_out() {
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let service = Service::start([
        refused(429, &[("retry-after-ms", "20"), ("retry-after", "3600")], "{}"),
        refused(529, &[], overloaded),
        good(&ended()),
    ])
    .await;
    assert_eq!(ask(&service.model(Anthropic)).await.unwrap().stop, Stop::End);
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn a_long_limit_goes_back_to_the_caller() {
    let service = Service::start([refused(429, &[("retry-after", "3600")], "{}")]).await;
    let error = ask(&service.model(Anthropic)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert!(error.is_transient() && service.asked().len() == 1);
}

#[tokio::test]
async fn what_cannot_pass_is_not_tried_again() {
    let service =
        Service::start([refused(401, &[], r#"{"error":{"type":"authentication_error","message":"x"}}"#)])
            .await;
    let error = ask(&service.model(Anthropic)).await.unwrap_err();
    assert!(matches!(error, ModelError::Unauthorized { .. }) && !error.is_transient());
    let service = Service::start([refused(529, &[("x-should-retry", "false")], "{}")]).await;
    let error = ask(&service.model(Anthropic)).await.unwrap_err();
    assert!(error.is_transient() && service.asked().len() == 1);
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_an_outcome() {
    let body = r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
    let service = Service::start([refused(400, &[], body)]).await;
    let reply = ask(&service.model(Anthropic)).await.unwrap();
    assert_eq!((reply.stop, reply.text.as_str()), (Stop::ContextExceeded, ""));
}

#[tokio::test]
async fn a_cancelled_question_ends_at_once() {
    let service = Service::start([good(&sse(&[start()])).ending(End::Hangs)]).await;
    let mut config = service.config(Anthropic);
    config.idle_timeout = Duration::from_secs(600);
    let model = Model::new(&config, crate::model::testing::http(Duration::from_secs(3))).unwrap();
    let cancel = CancellationToken::new();
    let started = Instant::now();
    let request = question("Mend it.");
    let (result, ()) = tokio::join!(model.complete(&request, &cancel), async {
        while service.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert!(matches!(result, Err(ModelError::Cancelled)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nothing_listening_is_a_passing_error_without_the_key() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut service = Service::start([]).await;
    service.base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = ask(&service.impatient(Anthropic)).await.unwrap_err();
    assert!(matches!(error, ModelError::Unreachable { .. }) && error.is_transient());
    assert!(!format!("{error:?} {:?}", service.impatient(Anthropic)).contains(KEY));
}
