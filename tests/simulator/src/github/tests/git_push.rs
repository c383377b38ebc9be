//! Pushes, and the rules that refuse them.

use super::*;

async fn push(world: &World, clone: &Path, branch: &str) -> Output {
    world.git(clone, &["push", &world.remote(TOKEN), &format!("HEAD:refs/heads/{branch}")]).await
}

#[tokio::test]
async fn a_push_is_written_down_and_its_pull_request_follows() {
    let world = World::start().await;
    let number = world.open_pull("ai/PROJ-1").await;
    let before = world.github.branches(SLUG)["ai/PROJ-1"].clone();
    let clone = world.clone("clone").await;
    world.git(&clone, &["fetch", "-q", &world.remote(TOKEN), "ai/PROJ-1"]).await;
    world.git(&clone, &["reset", "-q", "--hard", "FETCH_HEAD"]).await;
    world.commit(&clone, "src/cart.rs", "fn total() -> u32 { 1 }\n").await;
    let output = push(&world, &clone, "ai/PROJ-1").await;
    assert!(output.status.success(), "{}", errors(&output));
    let pushes = world.github.pushes();
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert_eq!((pushes[0].login.as_str(), pushes[0].reference.as_str()), ("ai-bot", "refs/heads/ai/PROJ-1"));
    assert_eq!((&pushes[0].old, &pushes[0].new), (&before, &world.github.branches(SLUG)["ai/PROJ-1"]));
    let shown = world.get(&format!("/pulls/{number}")).await.expect(200);
    assert_eq!((&shown["head"]["sha"], &shown["commits"]), (&json!(pushes[0].new), &json!(2)));
    assert_eq!(world.github.file(SLUG, "ai/PROJ-1", "src/cart.rs").unwrap(), b"fn total() -> u32 { 1 }\n");
    let head = &world.github.commits(SLUG, "ai/PROJ-1")[0];
    assert_eq!(
        (head.message.as_str(), head.author.as_str()),
        ("Change", "Dana Developer <dana@example.com>")
    );
}

#[tokio::test]
async fn a_hook_refuses_what_it_was_told_to_and_the_client_reads_why() {
    let world = World::start().await;
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    world.github.refuse_push(SLUG, "refs/heads/ai/*", "Branches of \"ai\" are $(closed) today").unwrap();
    let output = push(&world, &clone, "ai/PROJ-1").await;
    assert!(
        errors(&output).contains("remote: Branches of \"ai\" are $(closed) today"),
        "{}",
        errors(&output)
    );
    assert!(errors(&output).contains("pre-receive hook declined"), "{}", errors(&output));
    assert!(push(&world, &clone, "other").await.status.success());
    world.github.accept_pushes(SLUG).unwrap();
    assert!(push(&world, &clone, "ai/PROJ-1").await.status.success());
    assert_eq!(world.github.pushes().len(), 2);
}

#[tokio::test]
async fn a_push_that_touches_a_workflow_is_refused_until_allowed() {
    let world = World::start().await;
    let app = "ghs_12345_app";
    world.github.add_token(app, "jira-agent[bot]");
    world.github.set_permission(SLUG, "jira-agent[bot]", Permission::Write).unwrap();
    let clone = world.clone("clone").await;
    world.commit(&clone, ".github/workflows/ci.yml", "on: push\n").await;
    world.commit(&clone, "a", "b").await;
    let output = push(&world, &clone, "ai/PROJ-1").await;
    let reason =
        "refusing to allow a Personal Access Token to create or update workflow `.github/workflows/ci.yml`";
    assert!(errors(&output).contains(reason), "{}", errors(&output));
    let output = world.git(&clone, &["push", &world.remote(app), "HEAD:refs/heads/ai/PROJ-1"]).await;
    assert!(errors(&output).contains("refusing to allow a GitHub App"), "{}", errors(&output));
    assert!(!world.github.branches(SLUG).contains_key("ai/PROJ-1"));
    world.github.allow_workflows(SLUG, true).unwrap();
    assert!(push(&world, &clone, "ai/PROJ-1").await.status.success());
}

#[tokio::test]
async fn a_protected_branch_takes_no_push_while_others_do() {
    let world = World::start().await;
    world.github.protect(SLUG, "main").unwrap();
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    let both = ["push", &world.remote(TOKEN), "HEAD:refs/heads/main", "HEAD:refs/heads/free"];
    let output = world.git(&clone, &both).await;
    assert!(
        errors(&output).contains("GH006: Protected branch update failed for refs/heads/main."),
        "{}",
        errors(&output)
    );
    assert!(errors(&output).contains("(protected branch hook declined)"), "{}", errors(&output));
    assert!(world.github.branches(SLUG).contains_key("free"));
    world.github.unprotect(SLUG, "main").unwrap();
    assert!(push(&world, &clone, "main").await.status.success());
}

#[tokio::test]
async fn commits_are_dropped_only_where_that_is_not_denied() {
    let world = World::start().await;
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    assert!(push(&world, &clone, "ai/PROJ-1").await.status.success());
    world.git(&clone, &["commit", "-q", "--amend", "-m", "Other"]).await;
    assert!(errors(&push(&world, &clone, "ai/PROJ-1").await).contains("non-fast-forward"));
    let force = ["push", "--force", &world.remote(TOKEN), "HEAD:refs/heads/ai/PROJ-1"];
    world.github.deny_non_fast_forwards(SLUG, true).unwrap();
    let output = world.git(&clone, &force).await;
    assert!(errors(&output).contains("[remote rejected]") && errors(&output).contains("non-fast-forward"));
    world.github.deny_non_fast_forwards(SLUG, false).unwrap();
    assert!(world.git(&clone, &force).await.status.success());
}

#[tokio::test]
async fn a_branch_that_is_pushed_away_closes_its_pull_request() {
    let world = World::start().await;
    world.open_pull("ai/PROJ-1").await;
    let clone = world.clone("clone").await;
    let output = world.git(&clone, &["push", &world.remote(TOKEN), ":refs/heads/ai/PROJ-1"]).await;
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(world.github.pulls(SLUG)[0].issue.state, "closed");
    assert!(world.github.pushes()[0].new.chars().all(|digit| digit == '0'));
}

#[tokio::test]
async fn a_large_push_comes_in_pieces() {
    let world = World::start().await;
    let clone = world.clone("clone").await;
    std::fs::write(clone.join("large"), noise(3_000_000)).unwrap();
    world.commit(&clone, "a", "b").await;
    let output = push(&world, &clone, "ai/PROJ-1").await;
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(world.github.file(SLUG, "ai/PROJ-1", "large").unwrap(), noise(3_000_000));
    let trace = std::fs::read_to_string(world.folder("trace")).unwrap();
    assert!(trace.contains("Transfer-Encoding: chunked"), "git sent the pack in one piece");
}
