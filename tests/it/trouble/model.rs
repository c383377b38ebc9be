//! The model's service: it refuses, cuts, hangs, breaks off, limits, or does not know us.

use jira_agent_simulator::models::{Failure, Reply, StopReason, UsageSeed};
use serde_json::json;

use super::{
    ONCE, asked, assert_dead, assert_needs_human, assert_untouched, calls, good, hurry, last_message, letter,
    rule, work_with,
};
use crate::world::{REPLY, TICKET, World};

/// A first call that ends so; a second one is answered well.
async fn after(first: Reply) -> World {
    let world = World::speechless().await;
    world.answer(rule(first).times(1));
    world.answer(good());
    world.publish(TICKET).await;
    world.work_once().await;
    world
}

/// Every call ends so.
async fn always(reply: Reply) -> World {
    let world = World::speechless().await;
    world.answer(rule(reply));
    world.publish(TICKET).await;
    world.work_once().await;
    world
}

async fn the_second_try_mends_it(failure: Failure) {
    let world = after(Reply::failing(REPLY, failure)).await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 2);
    world.finish().await;
}

/// Tries within one request first, then puts the task off, and goes on when the service is well again.
async fn it_waits_on_a_tier(failure: Failure, tier: &str, attempt: i64, reason: &str) {
    let world = always(Reply::failing(REPLY, failure)).await;
    assert_untouched(&world);
    assert_eq!(world.comments(), [""; 0], "nothing is said of what passes");
    hurry(&world, tier, attempt, reason).await;
    world.simulator.models().set_script(jira_agent_simulator::models::ModelScript::new(vec![good()]));
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_to_the_ticket() {
    let world = always(Reply::stopped("", StopReason::Refusal)).await;
    assert_needs_human(&world, "the model refused to work on this ticket: as the script wants it").await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_was_cut_is_asked_for_again() {
    let world = after(Reply::stopped(REPLY, StopReason::MaxTokens)).await;
    world.assert_fixed().await;
    let calls = calls(&world);
    assert_eq!(calls.len(), 2);
    assert!(
        last_message(&calls[1]).contains("Your reply was cut off at its limit"),
        "{}",
        last_message(&calls[1])
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_was_cut_before_its_first_word_is_asked_for_again() {
    let silent =
        Reply { thinking: Some("Let me see".to_owned()), ..Reply::stopped("", StopReason::MaxTokens) };
    let world = after(silent).await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_cut_again_and_again_need_a_person() {
    let world = always(Reply::stopped(REPLY, StopReason::MaxTokens)).await;
    assert_needs_human(&world, "reply is longer than model.max_output_tokens allows").await;
    assert_eq!(calls(&world).len(), 3, "asked, and two repairs");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_does_not_fit_the_model_needs_a_person() {
    let world = always(Reply::stopped("", StopReason::ModelContextWindowExceeded)).await;
    assert_needs_human(&world, "do not fit the model; split the ticket").await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_pauses_is_resumed_with_what_there_is_of_it() {
    let (beginning, rest) = REPLY.split_at(REPLY.len() / 2);
    let world = World::speechless().await;
    world.answer(rule(Reply::stopped(beginning, StopReason::PauseTurn)).times(1));
    world.answer(rule(Reply::text(rest)));
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let calls = calls(&world);
    assert_eq!(calls.len(), 2);
    let last = calls[1].body["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["role"], &last["content"][0]["text"]), (&json!("assistant"), &json!(beginning)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_pauses_for_ever_needs_a_person() {
    let world = always(Reply::stopped("Hm. ", StopReason::PauseTurn)).await;
    assert_needs_human(&world, "for a reason that I do not know: pause_turn").await;
    assert_eq!(calls(&world).len(), 5);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_hangs_is_tried_again_at_once() {
    the_second_try_mends_it(Failure::HungStream { after_events: 4 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_always_hangs_puts_the_task_off() {
    let hung = Failure::HungStream { after_events: 4 };
    it_waits_on_a_tier(hung, "agent-tasks.retry.30s", 1, "said nothing for 1s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_early_is_tried_again_at_once() {
    the_second_try_mends_it(Failure::TruncatedStream { after_events: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_is_tried_again_at_once() {
    the_second_try_mends_it(Failure::CutStream { after_events: 5 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_that_it_failed_is_tried_again_at_once() {
    the_second_try_mends_it(Failure::ErrorEvent { after_events: 5, kind: "overloaded_error".to_owned() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_service_is_asked_again() {
    the_second_try_mends_it(Failure::Status { code: 529, retry_after: None }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stays_overloaded_puts_the_task_off() {
    let overloaded = Failure::Status { code: 529, retry_after: None };
    it_waits_on_a_tier(overloaded, "agent-tasks.retry.30s", 1, "cannot answer now (529)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_rate_limit_is_waited_for() {
    let world = after(Reply::failing("", Failure::Status { code: 429, retry_after: Some(1) })).await;
    world.assert_fixed().await;
    let path = regex::Regex::new("^/v1/messages$").unwrap();
    let requests = world.simulator.journal().matching("POST", &path);
    assert_eq!(requests.len(), 2);
    let waited = requests[1].at.duration_since(requests[0].at);
    assert!(waited >= jiff::SignedDuration::from_secs(1), "waited {waited}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_rate_limit_puts_the_task_off_for_as_long_without_counting() {
    let limit = Failure::Status { code: 429, retry_after: Some(90) };
    it_waits_on_a_tier(limit, "agent-tasks.retry.2m", 1, "asks to wait 90s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_without_a_time_puts_the_task_off_without_counting() {
    let limit = Failure::Status { code: 429, retry_after: None };
    it_waits_on_a_tier(limit, "agent-tasks.retry.30s", 1, "asks to wait 30s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_a_dead_letter_that_names_the_setting() {
    let world = World::new().await;
    world.simulator.models().set_key("sk-another");
    world.publish(TICKET).await;
    world.work_once().await;
    assert_dead(&world, 1, "refuses access (401): invalid x-api-key; check model.api_key").await;
    assert_eq!(asked(&world, "POST", "^/v1/messages$"), 1, "a wrong key is not tried twice");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_cache_counts_is_accounted_for_all_the_same() {
    let usage = UsageSeed { output_tokens: Some(200), without_cache_fields: true, ..UsageSeed::default() };
    let world = World::speechless().await;
    world.answer(rule(Reply { usage, ..Reply::text(REPLY) }));
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let body = world.pulls()[0].issue.body.clone().unwrap();
    let read = body.split("model `scripted`, ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(read.parse::<u64>().unwrap() > 500, "{body}");
    assert!(body.contains("tokens read and 200 written, about $0.0"), "{body}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_any_counts_does_not_stop_the_run() {
    let usage = UsageSeed { absent: true, ..UsageSeed::default() };
    let world = World::speechless().await;
    world.answer(rule(Reply { usage, ..Reply::text(REPLY) }));
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

/// A line of a file other than the one that the ticket leads to.
const ELSEWHERE: &str = r"let cents = cart\.total\(\)\.0;";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_shows_the_wrong_files_gets_no_reply() {
    let only_one = ("JIRA_AGENT__WORKER__CONTEXT_FILES", "1");
    let world = World::speechless().await;
    world.answer(good().and(ELSEWHERE).unwrap());
    world.publish(TICKET).await;
    work_with(&world, &[only_one]).await;
    let problems = world.simulator.problems().take();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("no rule answers this prompt"), "{problems:?}");
    let shown: Vec<String> = calls(&world).into_iter().map(|call| call.prompt).collect();
    assert_eq!(shown.len(), 1);
    assert!(shown[0].contains("total = total + item.price;"), "the file that the ticket leads to is shown");
    let dead = letter(&world, super::DEAD).await;
    assert!(dead.reason.contains("refuses the request (400)"), "{dead:?}");
    assert_untouched(&world);
    // The same script is content with a worker that shows what the fix needs.
    world.publish(&dead.body).await;
    let ended = world.work(&ONCE, &[]).await;
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(world.pulls().len(), 1);
    assert_eq!(world.depths().await, []);
    world.finish().await;
}
