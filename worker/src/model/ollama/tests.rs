use std::time::Duration;

use jira_agent::config::ModelProvider::Ollama;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::model::testing::{Canned, End, Service, ask, good, http, question, refused};
use crate::model::{Message, Model, ModelError, Stop, Usage};

fn lines(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("{document}\n")).collect()
}

fn part(text: &str) -> Value {
    json!({"model": "qwen:32b", "message": {"role": "assistant", "content": text}, "done": false})
}

fn last(fields: Value) -> Value {
    let mut document = json!({"model": "qwen:32b", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 40, "eval_count": 9});
    for (name, value) in fields.as_object().unwrap() {
        document[name] = value.clone();
    }
    document
}

fn reply(fields: Value) -> String {
    let thinking = json!({"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false});
    lines(&[thinking, part("Grüße, "), part("Welt"), last(fields)])
}

async fn error(answer: Canned) -> ModelError {
    let service = Service::start([answer]).await;
    ask(&service.impatient(Ollama)).await.unwrap_err()
}

#[tokio::test]
async fn a_reply_is_put_together_with_its_usage() {
    let service = Service::start([good(&reply(json!({"prompt_eval_cached_count": 30})))]).await;
    let reply = ask(&service.model(Ollama)).await.unwrap();
    assert_eq!((reply.text.as_str(), reply.stop), ("Grüße, Welt", Stop::End));
    assert_eq!(reply.model, "qwen:32b");
    let usage = Usage { input: 10, output: 9, cache_write: 0, cache_read: 30 };
    assert_eq!(reply.usage, usage);
}

#[tokio::test]
async fn the_window_is_always_sent_and_cutting_forbidden() {
    let service = Service::start([good(&reply(json!({})))]).await;
    ask(&service.model(Ollama)).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(asked.path, "/api/chat");
    let body = json!({
        "model": "big-model",
        "messages": [{"role": "system", "content": "You mend code."}, {"role": "user", "content": "Mend it."}],
        "stream": true,
        "truncate": false,
        "shift": false,
        "options": {"num_ctx": 8000, "num_predict": 500},
    });
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn every_reason_has_its_meaning() {
    let reason = "unload".to_owned();
    for (fields, stop) in [
        (json!({"done_reason": "stop"}), Stop::End),
        (json!({"done_reason": null}), Stop::End),
        (json!({"done_reason": "length", "eval_count": 500}), Stop::MaxTokens),
        (json!({"done_reason": "length", "eval_count": 200}), Stop::ContextExceeded),
        (json!({"done_reason": "unload"}), Stop::Other { reason }),
    ] {
        let service = Service::start([good(&reply(fields))]).await;
        assert_eq!(ask(&service.model(Ollama)).await.unwrap().stop, stop);
    }
}

#[tokio::test]
async fn a_prompt_larger_than_the_window_is_not_sent() {
    let service = Service::start([]).await;
    let request = question(&"word ".repeat(6000));
    let model = service.model(Ollama);
    let error = model.complete(&request, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("raise model.max_input_tokens"), "{error}");
    assert!(!error.is_transient() && service.asked().is_empty());
}

/// Asks with a prompt of about 5000 tokens.
async fn long_question(count: Value, more: &[Message]) -> Result<Stop, ModelError> {
    let service = Service::start([good(&reply(json!({"prompt_eval_count": count})))]).await;
    let mut request = question(&"word ".repeat(3000));
    request.messages.extend_from_slice(more);
    let model = service.model(Ollama);
    let reply = model.complete(&request, &CancellationToken::new()).await;
    reply.map(|reply| reply.stop)
}

#[tokio::test]
async fn a_prompt_that_was_cut_is_noticed() {
    for count in [1026, 2050] {
        let error = long_question(json!(count), &[]).await.unwrap_err();
        assert!(matches!(error, ModelError::PromptTruncated { window, .. } if window == count), "{error}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn a_prompt_that_came_from_the_cache_is_not_taken_for_a_cut_one() {
    for count in [json!(3001), json!(5600), json!(1), json!(0), Value::Null] {
        assert_eq!(long_question(count, &[]).await.unwrap(), Stop::End);
    }
    let round = [Message::assistant("a patch"), Message::user("mend it")];
    assert_eq!(long_question(json!(1026), &round).await.unwrap(), Stop::End);
}

#[tokio::test]
async fn a_server_that_refuses_to_cut_gives_an_outcome() {
    let body = r#"{"error":"the prompt is longer than the context length currently available to the model"}"#;
    let service = Service::start([refused(400, &[], body)]).await;
    assert_eq!(ask(&service.model(Ollama)).await.unwrap().stop, Stop::ContextExceeded);
}

#[tokio::test]
async fn a_stream_without_its_end_is_never_a_reply() {
    for ending in [End::Whole, End::Breaks] {
        let error = error(good(&lines(&[part("Half")])).ending(ending)).await;
        assert!(matches!(error, ModelError::Interrupted { .. }), "{error}");
    }
    let error = error(good(&lines(&[part("Half")])).ending(End::Hangs)).await;
    assert!(matches!(error, ModelError::Stalled { .. }), "{error}");
    let garbled = self::error(good("{\"message\": \n")).await;
    assert!(matches!(garbled, ModelError::Interrupted { .. }), "{garbled}");
}

#[tokio::test]
async fn a_last_line_without_its_end_counts() {
    let service = Service::start([good(reply(json!({})).trim_end())]).await;
    assert_eq!(ask(&service.model(Ollama)).await.unwrap().text, "Grüße, Welt");
}

#[tokio::test]
async fn an_error_within_the_stream_is_tried_again() {
    let failing = lines(&[part("Half"), json!({"error": "llama runner process has terminated"})]);
    let service = Service::start([good(&failing), good(&reply(json!({})))]).await;
    assert_eq!(ask(&service.model(Ollama)).await.unwrap().text, "Grüße, Welt");
    let error = error(good(&failing)).await;
    assert!(matches!(error, ModelError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_model_that_is_being_loaded_may_be_silent_for_longer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service::start([]).await;
    let mut config = service.config(Ollama);
    config.base_url = Some(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.idle_timeout = Duration::from_millis(20);
    config.timeout = Duration::from_millis(300);
    let model = Model::new(&config, http(Duration::ZERO)).unwrap();
    let started = std::time::Instant::now();
    let error = ask(&model).await.unwrap_err();
    assert!(error.is_transient() && started.elapsed() >= Duration::from_millis(300));
}
