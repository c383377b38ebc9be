//! The other two model APIs, from the queue to the pull request.

use jira_agent_simulator::models::{Failure, Models, Reply, StopReason, UsageSeed};
use jira_agent_simulator::service::Service;

use super::{asked, assert_dead, assert_needs_human, calls, good, push, rule, work_with};
use crate::world::{REPLY, REPOSITORY, TICKET, World};

const OPENAI: [(&str, &str); 2] =
    [("JIRA_AGENT__MODEL__PROVIDER", "openai"), ("OPENAI_API_KEY", Models::KEY)];
const OLLAMA: (&str, &str) = ("JIRA_AGENT__MODEL__PROVIDER", "ollama");

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_becomes_a_pull_request_by_an_openai_compatible_model() {
    let world = World::new().await;
    world.publish(TICKET).await;
    work_with(&world, &OPENAI).await;
    world.assert_fixed().await;
    let calls = calls(&world);
    assert_eq!(calls.iter().map(|call| call.api).collect::<Vec<_>>(), [Service::OpenAi]);
    assert_eq!(asked(&world, "POST", "^/v1/chat/completions$"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openai_compatible_model_that_fails_is_asked_again() {
    let world = World::speechless().await;
    for failure in [
        Failure::CutStream { after_events: 3 },
        Failure::ErrorEvent { after_events: 3, kind: "server_error".to_owned() },
    ] {
        world.answer(rule(Reply::failing(REPLY, failure)).times(1));
    }
    world.answer(rule(Reply::stopped(REPLY, StopReason::MaxTokens)).times(1));
    world.answer(good());
    world.publish(TICKET).await;
    let patient = ("JIRA_AGENT__HTTP__RETRY_BUDGET", "10s");
    work_with(&world, &[&OPENAI[..], &[patient]].concat()).await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openai_compatible_filter_that_refuses_is_told_to_the_ticket() {
    let world = World::speechless().await;
    world.answer(rule(Reply::stopped("", StopReason::Refusal)));
    world.publish(TICKET).await;
    work_with(&world, &OPENAI).await;
    assert_needs_human(&world, "the model refused to work on this ticket").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_becomes_a_pull_request_by_ollama() {
    let world = World::new().await;
    world.publish(TICKET).await;
    work_with(&world, &[OLLAMA]).await;
    world.assert_fixed().await;
    let calls = calls(&world);
    assert_eq!(calls.iter().map(|call| call.api).collect::<Vec<_>>(), [Service::Ollama]);
    assert_eq!(calls[0].body["options"]["num_ctx"], 116_000, "room for prompt and reply is always asked for");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_ollama_would_cut_is_not_sent() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let small =
        [("JIRA_AGENT__MODEL__MAX_INPUT_TOKENS", "600"), ("JIRA_AGENT__MODEL__MAX_OUTPUT_TOKENS", "200")];
    work_with(&world, &[&[OLLAMA][..], &small].concat()).await;
    assert_dead(&world, 1, "can read 800 tokens of a prompt of about").await;
    assert!(world.comments()[0].contains("raise model.max_input_tokens"), "{:?}", world.comments());
    assert_eq!(asked(&world, "POST", "^/api/chat$"), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_ollama_has_cut_is_a_dead_letter_that_names_the_setting() {
    let world = World::speechless().await;
    let long = "// The total of the cart is what the customer pays for all pieces.\n".repeat(300);
    push(&world, "src/notes.rs", long.as_bytes());
    let usage = UsageSeed { input_tokens: Some(1100), ..UsageSeed::default() };
    world.answer(rule(Reply { usage, ..Reply::text(REPLY) }));
    world.publish(TICKET).await;
    work_with(&world, &[OLLAMA]).await;
    assert_dead(&world, 1, "can read 1100 tokens of a prompt of about").await;
    assert!(world.comments()[0].contains("raise model.max_input_tokens"), "{:?}", world.comments());
    assert_eq!(world.simulator.github().pushes(), [], "{REPOSITORY} stays as it is");
    world.finish().await;
}
