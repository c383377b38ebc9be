//! Who may fetch and push.

use super::*;
use crate::github::FetchRecord;

#[tokio::test]
async fn a_shallow_clone_has_one_commit_and_is_written_down() {
    let world = World::start().await;
    world.github.push_files(SLUG, "main", "Second", &[("a", b"b")]).unwrap();
    // Git sends the credentials of an address only when it is asked for some.
    world.github.set_private(SLUG, true).unwrap();
    let clone = world.clone("clone").await;
    let log = world.git(&clone, &["rev-list", "--count", "HEAD"]).await;
    assert_eq!(String::from_utf8_lossy(&log.stdout).trim(), "1");
    assert!(clone.join("src/cart.rs").exists());
    let fetch = FetchRecord {
        repository: SLUG.to_owned(),
        username: Some("x-access-token".to_owned()),
        login: Some("ai-bot".to_owned()),
    };
    assert!(world.github.fetches().contains(&fetch), "{:?}", world.github.fetches());
}

#[tokio::test]
async fn every_version_of_the_protocol_is_spoken_and_large_requests_come_compressed() {
    let world = World::start().await;
    for index in 0..40 {
        world
            .github
            .push_files(SLUG, &format!("branch-{index}"), "Change", &[(&format!("f{index}"), b"x")])
            .unwrap();
    }
    for version in ["0", "1", "2"] {
        let option = format!("protocol.version={version}");
        let folder = format!("clone-{version}");
        let arguments = [
            "-c",
            &option,
            "clone",
            "-q",
            "--no-single-branch",
            "--depth",
            "1",
            &world.remote(TOKEN),
            &folder,
        ];
        let output = world.git(world.folder.path(), &arguments).await;
        assert!(output.status.success(), "{}", errors(&output));
        let branches = world.git(&world.folder(&folder), &["branch", "-r"]).await;
        assert!(String::from_utf8_lossy(&branches.stdout).contains("origin/branch-39"));
    }
    let trace = std::fs::read_to_string(world.folder("trace")).unwrap();
    assert!(trace.contains("Content-Encoding: gzip"), "git compressed no request");
    assert!(trace.contains("Git-Protocol: version=1") && trace.contains("Git-Protocol: version=2"));
}

#[tokio::test]
async fn a_public_repository_is_cloned_without_credentials_but_not_with_wrong_ones() {
    let world = World::start().await;
    let anonymous = format!("http://{}/{SLUG}", world.host);
    let output = world.git(world.folder.path(), &["clone", "-q", &anonymous, "clone"]).await;
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(world.github.fetches()[0].login, None);
    let refs = format!("{anonymous}/info/refs?service=git-upload-pack");
    let wrong = world.answer(world.client.get(refs).basic_auth("x-access-token", Some("ghp_wrong"))).await;
    assert!(wrong.body.as_str().unwrap().starts_with("Invalid username or token."));
    assert_eq!(wrong.status, 401);
    world.github.set_private(SLUG, true).unwrap();
    let output = world.git(world.folder.path(), &["clone", "-q", &world.remote("ghp_wrong"), "other"]).await;
    assert!(errors(&output).contains("Authentication failed"), "{}", errors(&output));
}

#[tokio::test]
async fn a_private_repository_asks_for_credentials_and_hides_from_strangers() {
    let world = World::start().await;
    world.github.set_private(SLUG, true).unwrap();
    world.github.add_token("ghp_stranger", "stranger");
    let refs = format!("http://{}/{SLUG}.git/info/refs?service=git-upload-pack", world.host);
    let without = world.answer(world.client.get(&refs)).await;
    assert_eq!((without.status, without.header("www-authenticate")), (401, "Basic realm=\"GitHub\""));
    let wrong = world.answer(world.client.get(&refs).basic_auth("x-access-token", Some("ghp_wrong"))).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Basic realm=\"GitHub\""));
    let stranger = world.answer(world.client.get(&refs).basic_auth("anything", Some("ghp_stranger"))).await;
    assert_eq!((stranger.status, stranger.body.as_str()), (404, Some("Repository not found.")));
    let token_as_name = world.client.get(&refs).basic_auth(TOKEN, None::<&str>);
    assert_eq!(world.answer(token_as_name).await.status, 200);
    world.clone("clone").await;
}

#[tokio::test]
async fn nobody_pushes_without_the_right_to() {
    let world = World::start().await;
    world.github.add_token("ghp_reader", "reader");
    let clone = world.clone("clone").await;
    world.commit(&clone, "a", "b").await;
    let anonymous = format!("http://{}/{SLUG}.git", world.host);
    let output = world.git(&clone, &["push", &anonymous, "HEAD:refs/heads/x"]).await;
    assert!(errors(&output).contains("could not read Username"), "{}", errors(&output));
    let output = world.git(&clone, &["push", &world.remote("ghp_reader"), "HEAD:refs/heads/x"]).await;
    assert!(errors(&output).contains("403"), "{}", errors(&output));
    assert!(errors(&output).contains("Permission to acme/shop.git denied to reader."), "{}", errors(&output));
    world.github.set_archived(SLUG, true).unwrap();
    let output = world.git(&clone, &["push", &world.remote(TOKEN), "HEAD:refs/heads/x"]).await;
    assert!(errors(&output).contains("archived so it is read-only"), "{}", errors(&output));
    // The pack itself is refused too, without the list of refs asked for first.
    let post = world.client.post(format!("http://{}/{SLUG}.git/git-receive-pack", world.host));
    assert_eq!(world.answer(post).await.status, 401);
    assert!(world.github.pushes().is_empty());
}

#[tokio::test]
async fn a_renamed_repository_is_found_by_its_old_name() {
    let world = World::start().await;
    world.github.rename_repository(SLUG, "acme/store").unwrap();
    world.clone("clone").await;
    assert_eq!(world.github.fetches()[0].repository, "acme/store");
}

#[tokio::test]
async fn the_old_protocol_of_plain_files_is_refused() {
    let world = World::start().await;
    let refs = format!("http://{}/{SLUG}.git/info/refs", world.host);
    assert_eq!(world.answer(world.client.get(&refs)).await.status, 403);
    assert_eq!(
        world.answer(world.client.get(format!("http://{}/{SLUG}.git/HEAD", world.host))).await.status,
        404
    );
    assert_eq!(world.problems.take().len(), 1);
}
