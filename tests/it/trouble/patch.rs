//! Patches that do not apply, break the syntax, or touch what they may not.

use jira_agent_simulator::github_glue::TOKEN;
use jira_agent_simulator::models::{Reply, Rule};

use super::{assert_needs_human, block, calls, changed, good, last_message, rule, work_with};
use crate::world::{REPLY, TICKET, World};

/// The line to mend, and the mended one.
const OLD: &str = "            total = total + item.price;";
const NEW: &str = "            total = total + item.price * item.quantity;";

/// The replies in turn; the last one for ever.
fn in_turn(world: &World, replies: &[String]) {
    let (last, others) = replies.split_last().unwrap();
    for reply in others {
        world.answer(rule(Reply::text(reply)).times(1));
    }
    world.answer(rule(Reply::text(last)));
}

/// What was said to the model, a message a call.
fn said(world: &World) -> Vec<String> {
    calls(world).iter().map(last_message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_does_not_apply_is_repaired_from_the_real_lines() {
    let world = World::speechless().await;
    let wrong = block("src/cart.rs", "            total = total + item.prize;", NEW);
    let nowhere = block("src/cart.rs", "        while let Some(other) = queue.pop_front() {", NEW);
    in_turn(&world, &[wrong, nowhere, REPLY.to_owned()]);
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let said = said(&world);
    assert_eq!(said.len(), 3);
    assert!(said[1].contains("the SEARCH lines are not in the file"), "{}", said[1]);
    let real = said[1].split("The most similar lines of src/cart.rs are ").nth(1);
    assert!(real.is_some_and(|real| real.contains(OLD)), "{}", said[1]);
    assert!(said[2].contains("No lines were found that resemble them."), "{}", said[2]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_never_applies_needs_a_person_and_pushes_nothing() {
    let world = World::speechless().await;
    in_turn(&world, &[block("src/cart.rs", "            total = total + item.prize;", NEW)]);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_needs_human(&world, "I could not write a patch that applies").await;
    assert!(world.comments()[0].contains("the SEARCH lines are not in the file"), "{:?}", world.comments());
    assert_eq!(calls(&world).len(), 3, "asked, and two repairs");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_without_a_block_is_asked_for_again_even_when_it_is_empty() {
    let world = World::speechless().await;
    in_turn(&world, &["The quantity should be multiplied.".to_owned(), String::new(), REPLY.to_owned()]);
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let said = said(&world);
    assert_eq!(said.len(), 3);
    for message in &said[1..] {
        assert!(message.contains("The reply holds no edit block."), "{message}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_breaks_the_syntax_is_corrected_once() {
    let world = World::speechless().await;
    let broken = block("src/cart.rs", OLD, "            total = total + item.price * (item.quantity;");
    let corrected = block("src/cart.rs", "            total = total + item.price * (item.quantity;", NEW);
    in_turn(&world, &[format!("SUMMARY: Charge for every piece\n\n{broken}"), corrected]);
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    let said = said(&world);
    assert_eq!(said.len(), 2);
    assert!(said[1].contains("A check that passed before now fails"), "{}", said[1]);
    assert!(said[1].contains("src/cart.rs: "), "{}", said[1]);
    let body = world.pulls()[0].issue.body.clone().unwrap();
    assert!(body.contains("syntax: 1 file parsed, no new errors"), "{body}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_breaks_the_syntax_twice_needs_a_person() {
    let world = World::speechless().await;
    let broken = block("src/cart.rs", OLD, "            total = total + item.price * (item.quantity;");
    let worse = block(
        "src/cart.rs",
        "            total = total + item.price * (item.quantity;",
        "            total = ((;",
    );
    in_turn(&world, &[broken, worse]);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_needs_human(&world, "breaks the syntax, and so did its correction: src/cart.rs: ").await;
    assert_eq!(calls(&world).len(), 2, "asked, and one correction");
    world.finish().await;
}

/// Only the file that the ticket leads to is shown.
const ONE_FILE: (&str, &str) = ("JIRA_AGENT__WORKER__CONTEXT_FILES", "1");

fn trespasses() -> String {
    [
        block("src/price.rs", "        Cents(self.0 + other.0)", "        Cents(self.0 - other.0)"),
        block("../outside.txt", "", "out"),
        block("/etc/passwd", "", "out"),
        block(".github/workflows/ci.yml", "", "on: push"),
        block(".git/config", "", "[core]"),
        block("src/cart.rs", OLD, NEW),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_patch_may_not_touch_is_refused_with_the_reason_and_left_out() {
    let world = World::speechless().await;
    in_turn(&world, &[trespasses(), REPLY.to_owned()]);
    world.publish(TICKET).await;
    work_with(&world, &[ONE_FILE]).await;
    world.assert_fixed().await;
    assert_eq!(changed(&world), ["src/cart.rs"]);
    let said = said(&world);
    assert_eq!(said.len(), 2);
    for reason in [
        "src/price.rs: the file was not shown, so it may not be edited.",
        "../outside.txt: is not a plain path from the root of the repository",
        "/etc/passwd: is not a plain path from the root of the repository",
        ".github/workflows/ci.yml: is protected by the settings (`.github/workflows/**`)",
        ".git/config: belongs to git itself",
    ] {
        assert!(said[1].contains(reason), "{reason} is not in: {}", said[1]);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_insists_on_what_it_may_not_touch_gets_nothing_pushed() {
    let world = World::speechless().await;
    in_turn(&world, &[trespasses()]);
    world.publish(TICKET).await;
    work_with(&world, &[ONE_FILE]).await;
    assert_needs_human(&world, "I could not write a patch that applies").await;
    assert_eq!(calls(&world).len(), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_would_write_a_secret_is_never_pushed() {
    let world = World::speechless().await;
    let leak = block("src/token.rs", "", &format!("pub const TOKEN: &str = \"{TOKEN}\";"));
    in_turn(&world, &[leak + &block("src/cart.rs", OLD, NEW)]);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_needs_human(&world, "would write a secret into `src/token.rs`").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_patch_that_does_not_apply_is_not_sent_back_to_the_model() {
    let world = World::speechless().await;
    let leak = block("src/token.rs", "", &format!("pub const TOKEN: &str = \"{TOKEN}\";"));
    let wrong = block("src/cart.rs", &format!("    // {TOKEN}"), NEW);
    in_turn(&world, &[leak + &wrong, "NEEDS_HUMAN: may I?".to_owned()]);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_needs_human(&world, "may I?").await;
    assert_eq!(calls(&world).len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_repository_is_not_shown_and_need_not_leave_it() {
    let world = World::speechless().await;
    let code = format!("//! Sends the cart's total.\n\nconst SENT_WITH: &str = \"{TOKEN}\";\n");
    super::push(&world, "src/send.rs", code.as_bytes());
    // The rule is for a prompt that shows the file, but not the token in it.
    world.answer(good().and("const SENT_WITH: &str = ").unwrap());
    world.answer(Rule::new(TOKEN, Reply::text("NEEDS_HUMAN: I have seen the token")).unwrap());
    world.publish(TICKET).await;
    world.work_once().await;
    assert_eq!(world.pulls().len(), 1, "{:?}", world.comments());
    assert_eq!(changed(&world), ["src/cart.rs"]);
    world.finish().await;
}
