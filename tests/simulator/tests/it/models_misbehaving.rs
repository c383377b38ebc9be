use jira_agent_simulator::models::{Failure, ModelScript, Reply, Rule, StopReason};
use reqwest::Response;
use serde_json::json;

use super::models::{TEXT, answer, ask, ask_ollama, ask_openai, events};
use super::support::{HANG, World, read, world};

/// What came, and whether the end was one for HTTP.
async fn until_the_end(mut response: Response) -> (String, bool) {
    let mut got = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            Ok(None) => return (String::from_utf8(got).unwrap(), true),
            Err(_) => return (String::from_utf8(got).unwrap(), false),
        }
    }
}

async fn each(world: &World) -> [Response; 3] {
    let send =
        [world.anthropic(&ask(true)), world.openai(&ask_openai(true)), world.ollama(&ask_ollama(true))];
    let [anthropic, openai, ollama] = send.map(|request| request.send());
    [anthropic.await.unwrap(), openai.await.unwrap(), ollama.await.unwrap()]
}

#[tokio::test]
async fn a_refusal_streams_its_reason_to_stop() {
    let world = world().await;
    answer(&world, Reply::stopped("", StopReason::Refusal));
    let stream = world.anthropic(&ask(true)).send().await.unwrap().text().await.unwrap();
    let events = events(&stream);
    let (_, end) = &events[events.len() - 2];
    assert_eq!(
        (&end["delta"]["stop_reason"], &end["delta"]["stop_details"]["type"]),
        (&json!("refusal"), &json!("refusal"))
    );
}

#[tokio::test]
async fn a_reply_cut_at_max_tokens_is_half_of_the_text() {
    let world = world().await;
    answer(&world, Reply::stopped("12345678", StopReason::MaxTokens));
    let message = read(world.anthropic(&ask(false)).send().await.unwrap(), 200).await;
    assert_eq!(
        (&message["content"][0]["text"], &message["stop_reason"]),
        (&json!("1234"), &json!("max_tokens"))
    );
}

#[tokio::test]
async fn a_paused_reply_goes_on_when_it_is_sent_back() {
    let world = world().await;
    let rules = [
        Rule::new("quantity", Reply::stopped("part one", StopReason::PauseTurn)).unwrap().times(1),
        Rule::new("part one", Reply::text("part two")).unwrap(),
    ];
    world.simulator.models().set_script(ModelScript::new(rules.into()));
    let mut body = ask(false);
    let paused = read(world.anthropic(&body).send().await.unwrap(), 200).await;
    assert_eq!(paused["stop_reason"], "pause_turn");
    let back = json!({"role": "assistant", "content": paused["content"]});
    body["messages"].as_array_mut().unwrap().push(back);
    let rest = read(world.anthropic(&body).send().await.unwrap(), 200).await;
    assert_eq!((&rest["content"][0]["text"], &rest["stop_reason"]), (&json!("part two"), &json!("end_turn")));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_hung_stream_says_something_then_nothing() {
    let world = world().await;
    answer(&world, Reply::failing(TEXT, Failure::HungStream { after_events: 3 }));
    for mut response in each(&world).await {
        let first = response.chunk().await.unwrap();
        assert!(first.is_some());
        let more = async { while response.chunk().await.unwrap().is_some() {} };
        assert!(tokio::time::timeout(HANG, more).await.is_err(), "the stream ended");
    }
}

#[tokio::test]
async fn a_truncated_stream_ends_cleanly_in_the_middle_of_an_event() {
    let world = world().await;
    answer(&world, Reply::failing(TEXT, Failure::TruncatedStream { after_events: 2 }));
    for response in each(&world).await {
        let (text, clean) = until_the_end(response).await;
        assert!(
            clean && !text.ends_with('\n') && !text.contains("message_stop") && !text.contains("[DONE]"),
            "{text}"
        );
        assert!(text.contains('\n'), "{text}");
    }
}

#[tokio::test]
async fn a_cut_stream_breaks_the_connection() {
    let world = world().await;
    answer(&world, Reply::failing(TEXT, Failure::CutStream { after_events: 2 }));
    for response in each(&world).await {
        let (_, clean) = until_the_end(response).await;
        assert!(!clean);
    }
    let whole = world.anthropic(&ask(false)).send().await.unwrap();
    assert!(!until_the_end(whole).await.1);
}

#[tokio::test]
async fn an_error_comes_as_an_event_after_200() {
    let world = world().await;
    let failure = Failure::ErrorEvent { after_events: 2, kind: "overloaded_error".into() };
    answer(&world, Reply::failing(TEXT, failure));
    for response in each(&world).await {
        assert_eq!(response.status().as_u16(), 200);
        let (text, clean) = until_the_end(response).await;
        let last = text.trim_end().lines().last().unwrap().to_owned();
        assert!(clean && last.contains("error") && last.contains("overloaded_error"), "{text}");
    }
    let whole = read(world.anthropic(&ask(false)).send().await.unwrap(), 529).await;
    assert_eq!(whole["error"]["type"], "overloaded_error");
}

#[tokio::test]
async fn a_status_comes_in_each_apis_form_with_retry_after() {
    let world = world().await;
    for (code, retry_after, kind) in
        [(429, Some(2), "rate_limit_error"), (529, None, "overloaded_error"), (500, None, "api_error")]
    {
        answer(&world, Reply::failing("", Failure::Status { code, retry_after }));
        let [anthropic, openai, ollama] = each(&world).await;
        for response in [&anthropic, &openai, &ollama] {
            let header =
                response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header, retry_after.map(|seconds: u32| seconds.to_string()));
        }
        assert_eq!(anthropic.headers()["x-should-retry"], "true");
        assert_eq!(read(anthropic, code).await["error"]["type"], kind);
        assert!(read(openai, code).await["error"]["message"].is_string());
        assert!(read(ollama, code).await["error"].is_string());
    }
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_failure_that_is_used_up_gives_way_to_the_next_rule() {
    let world = world().await;
    let rules = [
        Rule::new("quantity", Reply::failing("", Failure::Status { code: 529, retry_after: None }))
            .unwrap()
            .times(1),
        Rule::computed("quantity", |prompt| Reply::text(format!("{} letters", prompt.len()))).unwrap(),
    ];
    world.simulator.models().set_script(ModelScript::new(rules.into()));
    read(world.anthropic(&ask(false)).send().await.unwrap(), 529).await;
    let message = read(world.anthropic(&ask(false)).send().await.unwrap(), 200).await;
    assert_eq!(message["content"][0]["text"], "33 letters");
    assert_eq!(world.simulator.models().calls().len(), 2);
}
