//! Answers that hang and connections that break.

use super::*;
use crate::git_http::GitService;

#[tokio::test]
async fn a_stalled_clone_hangs_in_the_middle_until_released() {
    let world = World::start().await;
    world.github.push_files(SLUG, "main", "Large", &[("large", &noise(300_000))]).unwrap();
    let stall = world.github.stall(SLUG, GitService::UploadPack, 100_000);
    let url = world.remote(TOKEN);
    let clone = world.git_command(world.folder.path(), &["clone", "-q", &url, "clone"]);
    let clone = tokio::task::spawn_blocking(clone);
    tokio::time::timeout(SOON, stall.reached()).await.unwrap();
    assert!(!clone.is_finished());
    stall.release();
    let output = tokio::time::timeout(SOON, clone).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(stall.count(), 1);
    assert_eq!(std::fs::read(world.folder("clone/large")).unwrap().len(), 300_000);
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_answer_is_let_go() {
    let world = World::start().await;
    world.github.push_files(SLUG, "main", "Large", &[("large", &noise(300_000))]).unwrap();
    let stall = world.github.stall(SLUG, GitService::UploadPack, 100_000);
    let mut command = tokio::process::Command::new("git");
    command
        .args(["clone", "-q", &world.remote(TOKEN), "clone"])
        .current_dir(world.folder.path())
        .kill_on_drop(true);
    command.stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    tokio::time::timeout(SOON, stall.reached()).await.unwrap();
    child.kill().await.unwrap();
    drop(stall);
    world.clone("again").await;
}

#[tokio::test]
async fn a_stalled_push_can_be_told_from_a_clone() {
    let world = World::start().await;
    let stall = world.github.stall(SLUG, GitService::ReceivePack, 0);
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    let url = world.remote(TOKEN);
    let push =
        tokio::task::spawn_blocking(world.git_command(&clone, &["push", &url, "HEAD:refs/heads/ai/PROJ-1"]));
    tokio::time::timeout(SOON, stall.reached()).await.unwrap();
    drop(stall);
    assert!(tokio::time::timeout(SOON, push).await.unwrap().unwrap().status.success());
}

#[tokio::test]
async fn a_broken_clone_fails_once() {
    let world = World::start().await;
    world.github.push_files(SLUG, "main", "Large", &[("large", &noise(300_000))]).unwrap();
    world.github.break_after(SLUG, GitService::UploadPack, 100_000);
    let output = world.git(world.folder.path(), &["clone", "-q", &world.remote(TOKEN), "clone"]).await;
    assert!(!output.status.success());
    assert!(world.clone("again").await.join("large").exists());
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_was_done() {
    let world = World::start().await;
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    world.github.break_after(SLUG, GitService::ReceivePack, 0);
    let arguments = ["push", &world.remote(TOKEN), "HEAD:refs/heads/ai/PROJ-1"];
    assert!(!world.git(&clone, &arguments).await.status.success());
    assert!(world.github.branches(SLUG).contains_key("ai/PROJ-1"));
    let again = world.git(&clone, &arguments).await;
    assert!(errors(&again).contains("Everything up-to-date"), "{}", errors(&again));
    assert_eq!(world.github.pushes().len(), 1);
}
