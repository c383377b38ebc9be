use jira_agent_simulator::models::{ModelScript, Models, Reply, Rule, StopReason, UsageSeed};
use jira_agent_simulator::service::Service;
use serde_json::{Value, json};

use super::support::{World, read, world};

pub const TEXT: &str =
    "Here is the fix:\n\n    total = price * quantity\n\nIt multiplies, as the ticket wants it. Größe ✓";

pub fn answer(world: &World, reply: Reply) {
    world.simulator.models().set_script(ModelScript::new(vec![Rule::new("quantity", reply).unwrap()]));
}

pub fn ask(stream: bool) -> Value {
    json!({
        "model": "claude-sonnet", "max_tokens": 1000, "stream": stream, "system": "You fix code.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "price and quantity"}]}],
    })
}

pub fn ask_openai(stream: bool) -> Value {
    let mut body = json!({
        "model": "gpt", "max_completion_tokens": 1000, "stream": stream,
        "messages": [{"role": "system", "content": "You fix code."}, {"role": "user", "content": "price and quantity"}],
    });
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

pub fn ask_ollama(stream: bool) -> Value {
    json!({
        "model": "llama", "stream": stream, "options": {"num_ctx": 8192},
        "messages": [{"role": "system", "content": "You fix code."}, {"role": "user", "content": "price and quantity"}],
    })
}

/// The events of a stream: name (`message` without one) and data.
pub fn events(stream: &str) -> Vec<(String, Value)> {
    let blocks = stream.split("\n\n").filter(|block| !block.is_empty());
    let event = |block: &str| {
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = line("data: ").unwrap();
        (line("event: ").unwrap_or("message".into()), serde_json::from_str(&data).unwrap_or(json!(data)))
    };
    blocks.map(event).collect()
}

#[tokio::test]
async fn anthropic_streams_every_event_of_a_message() {
    let world = world().await;
    answer(&world, Reply { thinking: Some("hm".into()), ..Reply::text(TEXT) });
    let response = world.anthropic(&ask(true)).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    assert!(response.headers().contains_key("request-id"));
    let events = events(&response.text().await.unwrap());
    let mut names: Vec<&str> = events.iter().map(|(name, _)| &**name).collect();
    names.dedup();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let expected =
        [&["message_start", "ping"][..], &block, &block, &["message_delta", "message_stop"]].concat();
    assert_eq!(names, expected);
    assert!(events.iter().all(|(name, data)| data["type"] == **name));
    let text: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, TEXT);
    assert!(events.iter().filter(|(_, data)| data["delta"]["type"] == "text_delta").count() > 1);
    let (_, end) = &events[events.len() - 2];
    assert_eq!(
        (&end["delta"]["stop_reason"], end["usage"]["output_tokens"].as_u64()),
        (&json!("end_turn"), Some(24))
    );
    let usage = &events[0].1["message"]["usage"];
    assert_eq!(
        (&usage["cache_read_input_tokens"], &usage["cache_creation_input_tokens"]),
        (&json!(0), &json!(0))
    );
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn anthropic_answers_whole_and_accounts_for_its_cache() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let mut body = ask(false);
    body["system"] =
        json!([{"type": "text", "text": "rule ".repeat(2000), "cache_control": {"type": "ephemeral"}}]);
    let first = read(world.anthropic(&body).send().await.unwrap(), 200).await;
    assert_eq!(
        (&first["content"], &first["stop_reason"]),
        (&json!([{"type": "text", "text": TEXT, "citations": null}]), &json!("end_turn"))
    );
    assert_eq!(
        (&first["type"], &first["role"], &first["model"]),
        (&json!("message"), &json!("assistant"), &json!("claude-sonnet"))
    );
    assert_eq!(first["usage"]["cache_creation_input_tokens"], 2500);
    let second = read(world.anthropic(&body).send().await.unwrap(), 200).await;
    assert_eq!(
        (&second["usage"]["cache_read_input_tokens"], &second["usage"]["cache_creation_input_tokens"]),
        (&json!(2500), &json!(0))
    );
    let calls = world.simulator.models().calls();
    assert_eq!(
        (calls.len(), calls[0].api, calls[0].rule.as_deref()),
        (2, Service::Anthropic, Some("quantity"))
    );
    assert!(calls[0].prompt.starts_with("rule rule") && calls[0].prompt.ends_with("price and quantity"));
}

#[tokio::test]
async fn anthropic_refuses_a_malformed_request_and_reports_it() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let with = |key: &str, value: Value| {
        let mut body = ask(true);
        body[key] = value;
        body
    };
    for (body, words) in [
        (with("max_tokens", Value::Null), "max_tokens: Field required"),
        (with("model", json!("")), "model: Field required"),
        (with("prompt", json!("x")), "prompt: Extra inputs are not permitted"),
        (with("messages", json!([])), "at least one message"),
        (with("messages", json!([{"role": "system", "content": "x"}])), "'user' or 'assistant'"),
        (with("messages", json!([{"role": "user", "content": ""}])), "non-empty"),
        (with("messages", json!([{"role": "user", "content": [{"type": "html"}]}])), "'html'"),
        (
            with(
                "messages",
                json!([{"role": "user", "content": "quantity"}, {"role": "assistant", "content": "{"}]),
            ),
            "prefill",
        ),
    ] {
        let answer = read(world.anthropic(&body).send().await.unwrap(), 400).await;
        assert_eq!(
            (&answer["type"], &answer["error"]["type"]),
            (&json!("error"), &json!("invalid_request_error"))
        );
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
        assert!(world.problem().contains(words));
    }
    assert!(world.simulator.models().calls().is_empty());
}

#[tokio::test]
async fn the_newest_version_refuses_sampling_parameters_that_the_old_one_takes() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    for name in ["temperature", "top_p", "top_k"] {
        let mut body = ask(false);
        body[name] = json!(1);
        read(world.anthropic(&body).send().await.unwrap(), 200).await;
        let request = world.client.post(world.url("/v1/messages")).bearer_auth(Models::KEY).json(&body);
        let request = request.header("anthropic-version", "2026-10-21");
        read(request.send().await.unwrap(), 400).await;
        assert!(world.problem().contains(name));
    }
    let plain = world.client.post(world.url("/v1/messages")).bearer_auth(Models::KEY).json(&ask(false));
    let newest = plain.try_clone().unwrap().header("anthropic-version", "2026-10-21");
    read(newest.send().await.unwrap(), 200).await;
    read(plain.send().await.unwrap(), 400).await;
    assert!(world.problem().contains("anthropic-version: header is required"));
}

#[tokio::test]
async fn a_wrong_key_is_401_in_each_apis_form() {
    let world = world().await;
    world.simulator.models().set_key("rotated");
    let anthropic = read(world.anthropic(&ask(true)).send().await.unwrap(), 401).await;
    assert_eq!(anthropic["error"]["type"], "authentication_error");
    let openai = read(world.openai(&ask_openai(true)).send().await.unwrap(), 401).await;
    assert_eq!(openai["error"]["code"], "invalid_api_key");
}

#[tokio::test]
async fn openai_streams_chunks_usage_and_done() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let stream = world.openai(&ask_openai(true)).send().await.unwrap().text().await.unwrap();
    let events = events(&stream);
    let text: String =
        events.iter().filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, TEXT);
    assert_eq!(events.last().unwrap().1, "[DONE]");
    let usage = &events[events.len() - 2].1;
    assert_eq!((&usage["choices"], usage["usage"]["completion_tokens"].as_u64()), (&json!([]), Some(24)));
    assert_eq!(events[events.len() - 3].1["choices"][0]["finish_reason"], "stop");
    let mut without = ask_openai(true);
    without.as_object_mut().unwrap().remove("stream_options");
    let stream = world.openai(&without).send().await.unwrap().text().await.unwrap();
    assert!(!stream.contains("usage"));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn openai_answers_whole_and_refuses_a_malformed_request() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let whole = read(world.openai(&ask_openai(false)).send().await.unwrap(), 200).await;
    assert_eq!(
        (&whole["object"], &whole["choices"][0]["message"]["content"]),
        (&json!("chat.completion"), &json!(TEXT))
    );
    assert_eq!(whole["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    for (key, value, words) in [
        ("max_tokens", json!(5), "at the same time"),
        ("thinking", json!(true), "Unrecognized request argument"),
        ("stream_options", json!({}), "only allowed when 'stream'"),
        ("messages", json!([{"role": "robot", "content": "x"}]), "'robot'"),
    ] {
        let mut body = ask_openai(false);
        body[key] = value;
        let answer = read(world.openai(&body).send().await.unwrap(), 400).await;
        assert!(answer["error"]["message"].as_str().unwrap().contains(words), "{answer}");
        assert!(world.problem().contains(words));
    }
}

#[tokio::test]
async fn ollama_streams_lines_and_answers_whole() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let stream = world.ollama(&ask_ollama(true)).send().await.unwrap().text().await.unwrap();
    let lines: Vec<Value> = stream.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(text, TEXT);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["eval_count"]),
        (&json!(true), &json!("stop"), &json!(24))
    );
    assert!(lines.iter().rev().skip(1).all(|line| line["done"] == false));
    let whole = read(world.ollama(&ask_ollama(false)).send().await.unwrap(), 200).await;
    assert_eq!(whole["message"]["content"], TEXT);
    world.simulator.assert_no_problems();
    let mut body = ask_ollama(true);
    body["temperature"] = json!(0);
    read(world.ollama(&body).send().await.unwrap(), 400).await;
    assert!(world.problem().contains("belong in 'options'"));
}

#[tokio::test]
async fn ollama_truncates_a_long_prompt_silently() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let mut body = ask_ollama(false);
    body["messages"][1]["content"] = json!(format!("quantity {}", "filler ".repeat(6000)));
    body["options"]["num_ctx"] = json!(16_384);
    let whole = read(world.ollama(&body).send().await.unwrap(), 200).await;
    assert_eq!(
        (&whole["message"]["content"], whole["prompt_eval_count"].as_u64()),
        (&json!(TEXT), Some(10_506))
    );
    body.as_object_mut().unwrap().remove("options");
    let cut = read(world.ollama(&body).send().await.unwrap(), 200).await;
    assert_eq!(cut["prompt_eval_count"], 4096);
    assert_ne!(cut["message"]["content"], TEXT);
    assert_eq!(world.simulator.models().calls()[1].rule, None);
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_prompt_without_the_lines_gets_no_reply() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let prompt = format!("only the price. {}", "x".repeat(400));
    let asked = json!([{"role": "user", "content": prompt}]);
    let bodies = [ask(true), ask_openai(true), ask_ollama(true)].map(|mut body| {
        body["messages"] = asked.clone();
        body
    });
    for request in [world.anthropic(&bodies[0]), world.openai(&bodies[1]), world.ollama(&bodies[2])] {
        read(request.send().await.unwrap(), 400).await;
        let problem = world.problem();
        assert!(problem.contains("rule 'quantity' misses /quantity/"), "{problem}");
        let shown = problem.split_once("It begins: ").unwrap().1;
        assert_eq!(shown.chars().count(), 300);
    }
}

#[tokio::test]
async fn a_reply_longer_than_the_request_allows_is_cut() {
    let world = world().await;
    answer(&world, Reply::text(TEXT));
    let mut body = ask(false);
    body["max_tokens"] = json!(3);
    let cut = read(world.anthropic(&body).send().await.unwrap(), 200).await;
    assert_eq!(
        (&cut["content"][0]["text"], &cut["stop_reason"]),
        (&json!("Here is the "), &json!("max_tokens"))
    );
}

#[tokio::test]
async fn usage_can_be_given_bare_or_absent() {
    let world = world().await;
    let usage = UsageSeed {
        input_tokens: Some(7),
        output_tokens: Some(5),
        without_cache_fields: true,
        absent: false,
    };
    answer(&world, Reply { usage, ..Reply::text(TEXT) });
    let bare = read(world.anthropic(&ask(false)).send().await.unwrap(), 200).await;
    assert_eq!(bare["usage"], json!({"input_tokens": 7, "output_tokens": 5}));
    let bare = read(world.openai(&ask_openai(false)).send().await.unwrap(), 200).await;
    assert_eq!(bare["usage"], json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}));
    answer(&world, Reply { usage: UsageSeed { absent: true, ..UsageSeed::default() }, ..Reply::text(TEXT) });
    for request in
        [world.anthropic(&ask(true)), world.openai(&ask_openai(true)), world.ollama(&ask_ollama(true))]
    {
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(
            !text.contains("input_tokens") && !text.contains("prompt_tokens") && !text.contains("eval_count")
        );
    }
}

#[tokio::test]
async fn every_api_lists_its_models() {
    let world = world().await;
    let models = world.client.get(world.url("/v1/models"));
    let anthropic = models
        .try_clone()
        .unwrap()
        .header("anthropic-version", "2023-06-01")
        .header("x-api-key", Models::KEY);
    assert_eq!(read(anthropic.send().await.unwrap(), 200).await["data"][0]["type"], "model");
    let openai = models.bearer_auth(Models::KEY);
    assert_eq!(read(openai.send().await.unwrap(), 200).await["object"], "list");
    for path in ["/api/tags", "/api/version"] {
        read(world.client.get(world.url(path)).send().await.unwrap(), 200).await;
    }
    let unknown = world.client.get(world.url("/v1/files")).send().await.unwrap();
    assert_eq!(read(unknown, 404).await["error"]["type"], "invalid_request_error");
    assert_eq!(world.problem(), "GET /v1/files: no such route at openai");
}

#[tokio::test]
async fn stop_reasons_come_in_each_apis_words() {
    let world = world().await;
    for (stop_reason, anthropic, openai) in [
        (StopReason::EndTurn, "end_turn", "stop"),
        (StopReason::StopSequence, "stop_sequence", "stop"),
        (StopReason::MaxTokens, "max_tokens", "length"),
        (StopReason::Refusal, "refusal", "content_filter"),
    ] {
        answer(&world, Reply::stopped(TEXT, stop_reason));
        let answer = read(world.anthropic(&ask(false)).send().await.unwrap(), 200).await;
        assert_eq!(answer["stop_reason"], anthropic);
        assert_eq!(answer["stop_details"].is_null(), stop_reason != StopReason::Refusal);
        let answer = read(world.openai(&ask_openai(false)).send().await.unwrap(), 200).await;
        assert_eq!(answer["choices"][0]["finish_reason"], openai);
    }
    answer(&world, Reply::stopped("", StopReason::ModelContextWindowExceeded));
    let answer = read(world.anthropic(&ask(false)).send().await.unwrap(), 200).await;
    assert_eq!(answer["stop_reason"], "model_context_window_exceeded");
    let answer = read(world.openai(&ask_openai(false)).send().await.unwrap(), 400).await;
    assert_eq!(answer["error"]["code"], "context_length_exceeded");
    world.simulator.assert_no_problems();
}
