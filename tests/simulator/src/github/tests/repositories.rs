//! Repositories, rights, refs and files.

use super::*;

#[tokio::test]
async fn a_folder_becomes_a_repository_with_the_same_commit_every_time() {
    let world = World::start().await;
    let folder = world.folder("sample");
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    std::fs::create_dir_all(folder.join("src")).unwrap();
    std::fs::write(folder.join(".git/config"), "not this").unwrap();
    std::fs::write(folder.join("src/a b.txt"), "text\n").unwrap();
    std::os::unix::fs::symlink("src/a b.txt", folder.join("link")).unwrap();
    world.github.add_repository_from_dir("acme/one", &folder).unwrap();
    world.github.add_repository_from_dir("acme/two", &folder).unwrap();
    assert_eq!(world.github.branches("acme/one"), world.github.branches("acme/two"));
    assert_eq!(world.github.file("acme/one", "main", "src/a b.txt").unwrap(), b"text\n");
    assert_eq!(world.github.file("acme/one", "main", "link").unwrap(), b"src/a b.txt");
    assert_eq!(world.github.file("acme/one", "main", ".git/config"), None);
    assert!(world.github.add_repository_with("acme/ONE", &[]).is_err());
    assert!(world.github.push_files("acme/none", "main", "No", &[]).is_err());
}

#[tokio::test]
async fn a_repository_shows_its_settings() {
    let world = World::start().await;
    world.github.push_files(SLUG, "develop", "Begin", &[("a", b"b")]).unwrap();
    world.github.set_default_branch(SLUG, "develop").unwrap();
    world.github.set_archived(SLUG, true).unwrap();
    let shown = world.get("").await.expect(200);
    assert_eq!((&shown["default_branch"], &shown["archived"]), (&json!("develop"), &json!(true)));
    assert_eq!(
        (&shown["permissions"]["push"], &shown["permissions"]["admin"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(shown["clone_url"], format!("http://{}/{SLUG}.git", world.host));
    assert!(shown["size"].as_u64().unwrap() > 0);
    let refused = world.post("/issues/1/comments", json!({"body": "x"})).await;
    assert_eq!(refused.message(), "Repository was archived so is read-only.");
}

#[tokio::test]
async fn a_private_repository_is_unseen_without_a_right() {
    let world = World::start().await;
    world.github.set_private(SLUG, true).unwrap();
    world.github.add_token("ghp_guest", "guest");
    let path = format!("/repos/{SLUG}");
    world.answer(world.request(Method::GET, &path).bearer_auth("ghp_guest")).await.expect(404);
    world.answer(world.request(Method::GET, &path)).await.expect(404);
    assert_eq!(world.get("").await.expect(200)["visibility"], "private");
}

#[tokio::test]
async fn a_renamed_repository_redirects_and_writes_are_to_be_repeated() {
    let world = World::start().await;
    world.github.rename_repository(SLUG, "acme/store").unwrap();
    let moved = world.get("/issues/1?").await;
    assert_eq!(moved.header("location"), format!("http://{}/api/v3/repos/acme/store/issues/1", world.host));
    moved.expect(301);
    let post = world.post("/issues/1/comments", json!({"body": "x"})).await;
    assert!(post.header("location").ends_with("/repos/acme/store/issues/1/comments"));
    post.expect(307);
    let followed =
        world.answer(world.request(Method::GET, "/repos/acme/store/issues/1").bearer_auth(TOKEN)).await;
    assert_eq!(followed.expect(200)["number"], 1);
}

#[tokio::test]
async fn a_right_is_told_by_role_and_in_the_old_coarse_words() {
    let world = World::start().await;
    world.github.set_permission(SLUG, "triager", Permission::Triage).unwrap();
    world.github.set_permission(SLUG, "maintainer", Permission::Maintain).unwrap();
    world.github.add_user("stranger");
    let words = async |login: &str| {
        let shown = world.get(&format!("/collaborators/{login}/permission")).await.expect(200);
        format!("{} {}", shown["permission"].as_str().unwrap(), shown["role_name"].as_str().unwrap())
    };
    assert_eq!(words("triager").await, "read triage");
    assert_eq!(words("maintainer").await, "write maintain");
    assert_eq!(words("acme").await, "admin admin");
    assert_eq!(words("stranger").await, "read read");
    world.github.set_private(SLUG, true).unwrap();
    assert_eq!(words("stranger").await, "none none");
    assert!(world.get("/collaborators/nobody/permission").await.message().contains("is not a user"));
}

#[tokio::test]
async fn branches_with_slashes_are_found_by_ref_and_by_name() {
    let world = World::start().await;
    let tip = world.github.push_files(SLUG, "ai/PROJ-1", "Change\n\nWhy", &[("a", b"b")]).unwrap();
    world.github.protect(SLUG, "main").unwrap();
    assert_eq!(world.get("/git/ref/heads/ai/PROJ-1").await.expect(200)["object"]["sha"], tip);
    assert_eq!(world.get("/branches/ai/PROJ-1").await.expect(200)["commit"]["sha"], tip);
    assert_eq!(world.get("/branches/ai%2FPROJ-1").await.expect(200)["protected"], false);
    assert_eq!(world.get("/branches/main").await.expect(200)["protected"], true);
    assert_eq!(world.get("/commits/ai/PROJ-1").await.expect(200)["commit"]["message"], "Change\n\nWhy");
    world.get("/git/ref/heads/ai").await.expect(404);
    world.get("/branches/none").await.expect(404);
    assert_eq!(world.get("/commits/none").await.expect(422)["message"], "No commit found for SHA: none");
}

#[tokio::test]
async fn files_are_read_at_a_ref_in_base64_or_raw() {
    let world = World::start().await;
    let template = ".github/pull_request_template.md";
    world.github.push_files(SLUG, "other", "Add", &[(template, b"## What\n")]).unwrap();
    world.get(&format!("/contents/{template}")).await.expect(404);
    let shown = world.get(&format!("/contents/{template}?ref=other")).await.expect(200);
    assert_eq!((&shown["content"], &shown["encoding"]), (&json!("IyMgV2hhdAo=\n"), &json!("base64")));
    let raw = world.request(Method::GET, &format!("/repos/{SLUG}/contents/{template}?ref=other"));
    let raw = world.answer(raw.bearer_auth(TOKEN).header("accept", "application/vnd.github.raw+json")).await;
    assert_eq!(raw.expect(200), "## What\n");
    let folder = world.get("/contents?ref=other").await.expect(200);
    let names: Vec<_> =
        folder.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(names, [".github", "README.md", "src"]);
    assert_eq!(world.get("/contents/src").await.expect(200)[0]["path"], "src/cart.rs");
}

#[tokio::test]
async fn an_address_that_is_not_known_is_not_found_and_reported() {
    let world = World::start().await;
    world.get("/milestones").await.expect(404);
    world.call(Method::PUT, "/issues/1", json!({})).await.expect(404);
    let merge = world.call(Method::PUT, "/pulls/1/merge", json!({})).await;
    assert_eq!(merge.message(), "Not Found");
    assert_eq!(world.problems.take().len(), 3);
}

#[tokio::test]
async fn an_installation_is_no_user() {
    let world = World::start().await;
    let token = format!("ghs_12345_{}", "aB3-_.".repeat(85));
    assert_eq!(token.len(), 520);
    world.github.add_token(&token, "jira-agent[bot]");
    let user = world.answer(world.request(Method::GET, "/user").bearer_auth(&token)).await;
    assert_eq!(user.message(), "Resource not accessible by integration");
    user.expect(403);
    let header = format!("token {token}");
    let read = world.request(Method::GET, &format!("/repos/{SLUG}")).header("authorization", header);
    world.answer(read).await.expect(200);
}

#[tokio::test]
async fn the_state_is_one_json_document() {
    let world = World::start().await;
    let number = world.open_pull("ai/PROJ-1").await;
    world.post(&format!("/issues/{number}/comments"), json!({"body": "Plan"})).await.expect(201);
    world.post("/issues/1/labels", json!(["ai-agent"])).await.expect(200);
    let state = world.github.state_json();
    let shop = &state["repositories"][SLUG];
    assert_eq!(shop["pulls"][0]["head"], "ai/PROJ-1");
    assert_eq!(shop["pulls"][0]["number"], number);
    assert_eq!(shop["refs"][format!("refs/pull/{number}/head")], shop["refs"]["refs/heads/ai/PROJ-1"]);
    assert_eq!(shop["comments"][0]["body"], "Plan");
    assert_eq!((&shop["issues"][0]["labels"], &shop["labels"]), (&json!(["ai-agent"]), &json!(["ai-agent"])));
    assert!(world.github.diff(SLUG, "main", "ai/PROJ-1").contains("+two"));
    assert!(world.github.pulls("acme/none").is_empty());
    assert_eq!(world.problems.take().len(), 1);
}
