//! Reading the repository goes wrong.

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::git_http::GitService;
use jira_agent_simulator::github_glue::TOKEN;

use super::{
    DEAD, asked, assert_dead, assert_needs_human, assert_untouched, calls, end_of, hurry, letter, processes,
    signal, work_with, workspaces,
};
use crate::broker::{SOON, wait_for};
use crate::world::{REPOSITORY, TICKET, World};

const SOON_AGAIN: &str = "agent-tasks.retry.30s";

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_hangs_is_killed_and_the_task_waits() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    world.publish(TICKET).await;
    let worker = world.start(&["run"], &[("JIRA_AGENT__WORKER__CLONE_TIMEOUT", "1s")]);
    tokio::time::timeout(SOON, stall.reached()).await.expect("the clone hangs");
    assert_eq!(
        (processes(&world).len(), workspaces(&world)),
        (2, 3),
        "a child transfers; a directory, its lock and the note of the step"
    );
    world.broker.wait_for_depth(&world.queue, SOON_AGAIN, 1).await;
    assert_eq!(processes(&world), [worker.0.id().unwrap()], "the child is gone");
    assert_eq!(workspaces(&world), 0);
    stall.release();
    hurry(&world, SOON_AGAIN, 2, "1s passed without an end of the transfer").await;
    wait_for("the ticket to be moved", async || (world.issue().status == "In Testing").then_some(())).await;
    signal(&worker.0, rustix::process::Signal::TERM);
    assert!(end_of(worker).await.status.success());
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_silent_in_a_clone_is_given_up() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    world.publish(TICKET).await;
    work_with(&world, &[("JIRA_AGENT__HTTP__TIMEOUT", "1s")]).await;
    assert_eq!(stall.count(), 1);
    assert_untouched(&world);
    stall.release();
    hurry(&world, SOON_AGAIN, 2, "the transfer with 127.0.0.1:").await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_amid_the_pack_puts_the_task_off() {
    let world = World::new().await;
    world.simulator.github().break_after(REPOSITORY, GitService::UploadPack, 300);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_untouched(&world);
    hurry(&world, SOON_AGAIN, 2, "step workspace: fetching the repository: ").await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_patience_is_given_it_without_counting() {
    let world = World::new().await;
    let busy = Action::Status(Answer::new(429).header("retry-after", "100"));
    world.simulator.faults().add(Fault::new(r"/info/refs\?service=git-upload-pack$", busy).unwrap());
    world.publish(TICKET).await;
    world.work_once().await;
    hurry(&world, "agent-tasks.retry.2m", 1, "limits the rate of requests").await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_is_a_dead_letter_that_names_the_setting() {
    let world = World::new().await;
    world.simulator.github().expire_token_after(TOKEN, 0);
    world.publish(TICKET).await;
    world.work_once().await;
    assert_dead(&world, 1, "refused the token (HTTP 401)").await;
    assert!(world.comments()[0].contains("check `github.token` and its rights"), "{:?}", world.comments());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_there_is_a_dead_letter() {
    let world = World::new().await;
    let gone = format!("{}/acme/gone", world.simulator.url());
    world.write_config(&format!("[[routes]]\nrepo = \"{gone}\"\n"));
    world.publish(&format!(r#"{{"issue_id": "{TICKET}", "repo_url": "{gone}"}}"#)).await;
    world.work_once().await;
    assert_dead(&world, 1, "does not exist or the token may not see it").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_no_route_is_never_touched() {
    let world = World::new().await;
    let other = format!("{}/acme/other", world.simulator.url());
    world.publish(&format!(r#"{{"issue_id": "{TICKET}", "repo_url": "{other}"}}"#)).await;
    world.work_once().await;
    assert_dead(&world, 1, "is not among the configured routes; add a `[[routes]]` entry for it").await;
    assert_eq!(asked(&world, "GET", "acme/other"), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_needs_a_person() {
    let world = World::new().await;
    let github = world.simulator.github();
    github.add_repository_with("acme/empty", &[]).unwrap();
    let empty = format!("{}/acme/empty", world.simulator.url());
    world.write_config(&format!("[[routes]]\nrepo = \"{empty}\"\n"));
    world.publish(&format!(r#"{{"issue_id": "{TICKET}", "repo_url": "{empty}"}}"#)).await;
    world.work_once().await;
    assert_needs_human(&world, "is empty; it needs a first commit before I can work on it").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_branch_that_is_not_there_needs_a_person() {
    let world = World::new().await;
    world.publish(&format!(r#"{{"issue_id": "{TICKET}", "base_branch": "release/9"}}"#)).await;
    world.work_once().await;
    assert_needs_human(&world, "has no branch `release/9`").await;
    assert_eq!(calls(&world).len(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_almost_full_puts_the_task_off() {
    let world = World::new().await;
    world.publish(TICKET).await;
    work_with(&world, &[("JIRA_AGENT__WORKER__MIN_FREE_BYTES", "9000000000000000000")]).await;
    assert_eq!(world.simulator.github().fetches(), [], "nothing is fetched");
    assert_eq!(workspaces(&world), 0);
    hurry(&world, SOON_AGAIN, 2, "bytes free, and worker.min_free_bytes asks for 9000000000000000000").await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_failing_climbs_the_tiers_and_is_dead_after_the_last_attempt() {
    let world = World::new().await;
    let away = Action::Status(Answer::new(503));
    world.simulator.faults().add(Fault::new(r"/info/refs\?service=git-upload-pack$", away).unwrap().always());
    world.publish(TICKET).await;
    let reason = "step workspace: fetching the repository: 127.0.0.1";
    for (tier, attempt) in [
        (SOON_AGAIN, 2),
        ("agent-tasks.retry.2m", 3),
        ("agent-tasks.retry.10m", 4),
        ("agent-tasks.retry.1h", 5),
    ] {
        world.work_once().await;
        assert_eq!(world.comments(), [""; 0], "nothing is said of what may pass");
        hurry(&world, tier, attempt, reason).await;
    }
    world.work_once().await;
    assert_eq!(world.depths().await, [(DEAD.to_owned(), 1)]);
    assert_dead(&world, 5, "failed with HTTP 503").await;
    assert_eq!(calls(&world).len(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_put_back_is_carried_out_once_the_cause_is_mended() {
    let world = World::new().await;
    world.simulator.github().expire_token_after(TOKEN, 0);
    world.publish(TICKET).await;
    world.work_once().await;
    let dead = letter(&world, DEAD).await;
    world.simulator.github().add_token(TOKEN, jira_agent_simulator::github_glue::LOGIN);
    world.publish(&dead.body).await;
    world.work_once().await;
    assert_eq!(world.pulls().len(), 1);
    let comments = world.comments();
    assert_eq!(comments.len(), 2, "one of each kind: {comments:?}");
    // What was said of the failure is taken back.
    assert!(comments[0].contains("An earlier attempt at this failed"), "{comments:?}");
    assert!(comments[1].contains("I opened"), "{comments:?}");
    assert_eq!(world.depths().await, []);
    world.finish().await;
}
