//! The push goes wrong.

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::git_http::GitService;
use jira_agent_simulator::github::Permission;
use jira_agent_simulator::github_glue::{LOGIN, TOKEN};
use jira_agent_simulator::models::{Reply, Rule};

use super::{assert_dead, assert_needs_human, assert_untouched, block, calls, good, hurry, rule, work_with};
use crate::world::{BRANCH, NEEDED, REPLY, REPOSITORY, TICKET, World};

const SOON_AGAIN: &str = "agent-tasks.retry.30s";

async fn refused_with(world: World, words: &str) {
    world.publish(TICKET).await;
    world.work_once().await;
    assert_needs_human(&world, &format!("the repository refused the push to `{BRANCH}`: ")).await;
    assert!(world.comments()[0].contains(words), "{:?}", world.comments());
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_refuses_the_push_is_quoted_on_the_ticket() {
    let world = World::new().await;
    let words = "Commits need an approval number, see the wiki page Releases.";
    world.simulator.github().refuse_push(REPOSITORY, "refs/heads/ai/*", words).unwrap();
    refused_with(world, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_branch_is_named_on_the_ticket() {
    let world = World::new().await;
    world.simulator.github().protect(REPOSITORY, BRANCH).unwrap();
    refused_with(world, "protected branch hook declined").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_right_to_workflows_is_named_on_the_ticket() {
    let world = World::speechless().await;
    world.answer(rule(Reply::text(block(".github/workflows/ci.yml", "", "on: push"))));
    world.publish(TICKET).await;
    // Workflows are protected by default; who takes that away meets the server's own rule.
    work_with(&world, &[("JIRA_AGENT__WORKER__PROTECTED_PATHS", "")]).await;
    let words = "create or update workflow `.github/workflows/ci.yml` without `workflow` scope";
    assert_needs_human(&world, words).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_only_read_is_a_dead_letter_that_says_what_is_needed() {
    let world = World::new().await;
    world.simulator.github().set_permission(REPOSITORY, LOGIN, Permission::Read).unwrap();
    world.publish(TICKET).await;
    world.work_once().await;
    assert_dead(&world, 1, "pushing needs contents: write").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_while_the_model_thinks_is_a_dead_letter() {
    let world = World::speechless().await;
    let github = world.simulator.github().clone();
    let expire = move |_: &str| {
        github.expire_token_after(TOKEN, 0);
        Reply::text(REPLY)
    };
    world.answer(Rule::computed(NEEDED, expire).unwrap());
    world.publish(TICKET).await;
    world.work_once().await;
    assert_dead(&world, 1, "refused the token (HTTP 401)").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_pushes_to_the_branch_meanwhile_is_not_overwritten() {
    let world = World::speechless().await;
    let github = world.simulator.github().clone();
    let person = move |_: &str| {
        github.push_files(REPOSITORY, BRANCH, "By hand", &[("docs/note.md", b"mine\n")]).unwrap();
        Reply::text(REPLY)
    };
    world.answer(Rule::computed(NEEDED, person).unwrap().times(1));
    world.answer(good());
    world.publish(TICKET).await;
    world.work_once().await;
    assert_eq!(world.simulator.github().pushes(), [], "nothing of ours got there");
    hurry(&world, SOON_AGAIN, 2, "somebody else moved `ai/PROJ-1` meanwhile").await;
    world.work_once().await;
    let github = world.simulator.github();
    let messages: Vec<String> =
        github.commits(REPOSITORY, BRANCH).into_iter().map(|commit| commit.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[0].starts_with("PROJ-1: ") && messages[1] == "By hand", "{messages:?}");
    assert_eq!(github.file(REPOSITORY, BRANCH, "docs/note.md").as_deref(), Some(&b"mine\n"[..]));
    let cart = String::from_utf8(github.file(REPOSITORY, BRANCH, "src/cart.rs").unwrap()).unwrap();
    assert!(cart.contains("item.price * item.quantity"), "{cart}");
    assert_eq!((world.pulls().len(), world.comments().len(), calls(&world).len()), (1, 1, 2));
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

/// The push is done, but the worker does not hear so: the next attempt finds its own commit.
async fn resumed(world: World) {
    world.publish(TICKET).await;
    world.work_once().await;
    assert_eq!(world.simulator.github().pushes().len(), 1, "it has been pushed");
    assert_eq!(world.pulls(), []);
    hurry(&world, SOON_AGAIN, 2, "step publish: pushing: ").await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(world.simulator.github().pushes().len(), 1);
    assert_eq!(calls(&world).len(), 1, "the model is not paid twice");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_breaks_off_is_found_by_the_next_attempt() {
    let world = World::new().await;
    world.simulator.github().break_after(REPOSITORY, GitService::ReceivePack, 0);
    resumed(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_answered_by_a_broken_gateway_is_found_by_the_next_attempt() {
    let world = World::new().await;
    let gateway = Action::StatusAfter(Answer::new(502));
    world.simulator.faults().add(Fault::new("/git-receive-pack$", gateway).unwrap().method("POST"));
    resumed(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_hangs_is_ended_and_found_by_the_next_attempt() {
    let world = World::new().await;
    world.simulator.faults().add(Fault::new("/git-receive-pack$", Action::HangAfter).unwrap().method("POST"));
    world.publish(TICKET).await;
    work_with(&world, &[("JIRA_AGENT__WORKER__PUSH_TIMEOUT", "1s")]).await;
    assert_eq!(world.simulator.github().pushes().len(), 1);
    hurry(&world, SOON_AGAIN, 2, "1s passed without an end of the transfer").await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_the_server_never_got_is_made_by_the_next_attempt() {
    let world = World::new().await;
    world
        .simulator
        .faults()
        .add(Fault::new("/git-receive-pack$", Action::DropBefore).unwrap().method("POST"));
    world.publish(TICKET).await;
    world.work_once().await;
    assert_untouched(&world);
    hurry(&world, SOON_AGAIN, 2, "step publish: pushing: ").await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_somebody_else_on_the_base_branch_does_not_disturb_the_push() {
    let world = World::speechless().await;
    let github = world.simulator.github().clone();
    let person = move |_: &str| {
        github.push_files(REPOSITORY, "main", "By hand", &[("docs/note.md", b"mine\n")]).unwrap();
        Reply::text(REPLY)
    };
    world.answer(Rule::computed(NEEDED, person).unwrap());
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}
