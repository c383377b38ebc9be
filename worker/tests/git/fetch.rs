use std::fs;
use std::path::Path;
use std::time::Duration;

use jira_agent::secret::Secret;
use jira_agent_worker::git::{
    Ancestry, GitError, MergeBase, Mode, Snapshot, Transfers, ancestry, checkout, merge_base,
};
use tokio_util::sync::CancellationToken;

use super::server::{Fault, Server, git};
use super::{Desk, SLUG, branch};

#[tokio::test]
async fn a_fetch_brings_the_newest_commit_of_the_default_branch_and_nothing_else() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    remote.commit("main", None, "one", &[("a.txt", b"old")]);
    let files: [(&str, &[u8]); 3] = [("a.txt", b"new\r\n"), ("!run.sh", b"#!/bin/sh\n"), ("@link", b"a.txt")];
    let head = remote.commit("main", Some("main"), "two", &files);
    remote.commit("other", Some("main"), "elsewhere", &[("b.txt", b"b")]);
    remote.git(&["tag", "v1", "main"]);

    let mut steps = 0;
    let request = desk.fetch_request();
    let found =
        desk.transfers.fetch(request, &CancellationToken::new(), super::LONG, |_| steps += 1).await.unwrap();
    assert_eq!((&found.base, found.base_branch.as_str(), found.agent_head), (&head, "main", None));
    assert_eq!(found.default_branch, Some(branch("main")));
    // One commit, one tree, three files.
    assert_eq!(found.objects, 5);
    assert!(found.received_bytes > 100 && steps > 0, "{} bytes, {steps} steps", found.received_bytes);

    let refs = git(&desk.git_dir(), &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs.trim(), "refs/remotes/origin/main");
    assert_eq!(git(&desk.git_dir(), &["rev-list", "--count", head.as_str()]).trim(), "1");

    let snapshot = Snapshot::open(&desk.git_dir(), &head).unwrap();
    let entries: Vec<_> = snapshot.entries().unwrap().into_iter().map(|e| (e.path, e.mode, e.size)).collect();
    let expected =
        [("a.txt", Mode::Regular, 5), ("link", Mode::Symlink, 5), ("run.sh", Mode::Executable, 10)];
    assert_eq!(entries, expected.map(|(path, mode, size)| (path.to_owned(), mode, size)));
    assert_eq!(snapshot.read("a.txt").unwrap(), b"new\r\n");
}

#[tokio::test]
async fn every_request_carries_the_token_at_once_and_gits_agent() {
    let desk = Desk::new().await;
    desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let seen = desk.server.seen();
    assert!(seen.iter().all(|request| request.authorization.is_some()), "{seen:?}");
    assert!(seen.iter().all(|request| request.agent == "git/jira-agent"), "{seen:?}");
    assert!(seen[0].uri.ends_with("/acme/shop.git/info/refs?service=git-upload-pack"), "{seen:?}");
}

#[tokio::test]
async fn the_agents_branch_comes_with_its_history_when_it_exists() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    for n in 0..60 {
        let from = (n > 0).then_some("main");
        remote.commit("main", from, &format!("main {n}"), &[("a", format!("{n}").as_bytes())]);
    }
    let fork = remote.head("main").unwrap();
    remote.commit("ai/PROJ-1", Some("main"), "agent 1", &[("b", b"1")]);
    let agent = remote.commit("ai/PROJ-1", Some("ai/PROJ-1"), "agent 2", &[("b", b"2")]);
    let base = remote.commit("main", Some("main"), "later", &[("a", b"later")]);

    let wanted = |request: &mut super::FetchRequest| request.agent_branch = Some(branch("ai/PROJ-1"));
    let found = desk.fetch_with(wanted).await.unwrap();
    assert_eq!((&found.base, found.agent_head.as_ref()), (&base, Some(&agent)));
    let log = git(&desk.git_dir(), &["log", "--format=%s", agent.as_str()]);
    assert!(log.starts_with("agent 2\nagent 1\nmain 59\n"), "{log}");
    assert_eq!(log.lines().count(), 50);

    // The base has one commit only, so where both meet is told by going deeper.
    assert_eq!(merge_base(&desk.git_dir(), &base, &agent).unwrap(), MergeBase::NeedsDeepen);
    assert_eq!(ancestry(&desk.git_dir(), &fork, &base).unwrap(), Ancestry::NeedsDeepen);
    assert_eq!(ancestry(&desk.git_dir(), &fork, &agent).unwrap(), Ancestry::Yes);
    let again = desk.fetch_with(|request| {
        wanted(request);
        request.base_depth = 10;
    });
    assert_eq!(again.await.unwrap().base, base);
    assert_eq!(merge_base(&desk.git_dir(), &base, &agent).unwrap(), MergeBase::Found(fork.clone()));
    assert_eq!(ancestry(&desk.git_dir(), &fork, &base).unwrap(), Ancestry::Yes);
}

#[tokio::test]
async fn a_named_base_is_fetched_and_an_absent_agents_branch_is_no_error() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    remote.commit("main", None, "one", &[("a", b"a")]);
    let release = remote.commit("release/1.x", Some("main"), "two", &[("b", b"b")]);
    let found = desk
        .fetch_with(|request| {
            request.base = Some(branch("release/1.x"));
            request.agent_branch = Some(branch("ai/PROJ-1"));
        })
        .await
        .unwrap();
    assert_eq!((found.base, found.base_branch.as_str(), found.agent_head), (release, "release/1.x", None));
    assert_eq!(found.default_branch, Some(branch("main")));
}

#[tokio::test]
async fn a_fetch_into_a_filled_git_directory_brings_what_is_new() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let newer = remote.commit("main", Some("main"), "two", &[("b", b"b")]);
    assert_eq!(desk.fetch().await.unwrap().base, newer);
    assert_eq!(Snapshot::open(&desk.git_dir(), &newer).unwrap().entries().unwrap().len(), 2);
}

#[tokio::test]
async fn a_missing_branch_an_empty_repository_and_no_repository_are_told_apart() {
    let desk = Desk::new().await;
    let url = desk.server.url(SLUG).to_string();
    let missing = desk.fetch().await.unwrap_err();
    assert_eq!(missing, GitError::NotFound { url: url.clone() });
    let remote = desk.server.repository(SLUG);
    let empty = desk.fetch().await.unwrap_err();
    assert_eq!(empty, GitError::Empty { url: url.clone() });
    remote.commit("main", None, "one", &[("a", b"a")]);
    let nowhere = desk.fetch_with(|request| request.base = Some(branch("nowhere"))).await.unwrap_err();
    assert_eq!(nowhere, GitError::BranchMissing { url: url.clone(), branch: "nowhere".to_owned() });
    remote.git(&["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let headless = desk.fetch().await.unwrap_err();
    assert_eq!(headless, GitError::BranchMissing { url, branch: "HEAD".to_owned() });
    for error in [missing, empty, nowhere, headless] {
        assert!(!error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_never_repeated_in_words() {
    let desk = Desk::new().await;
    desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    for token in [Some(Secret::new("wrong-token")), None] {
        let error = desk.fetch_with(|request| request.token = token).await.unwrap_err();
        let GitError::Unauthorized { status: 401, detail, .. } = &error else { panic!("{error:?}") };
        assert_eq!(detail, "remote: Invalid username or token.");
        assert!(!format!("{error} {error:?}").contains("wrong-token"));
    }
    assert!(!format!("{:?}", desk.fetch_request()).contains(super::server::TOKEN));
}

#[tokio::test]
async fn statuses_become_typed_errors() {
    let desk = Desk::new().await;
    desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    let host = desk.server.url(SLUG).authority();
    let limited = |seconds| GitError::RateLimited { host: host.clone(), retry_after: seconds };
    let thirty = Some(Duration::from_secs(30));
    let cases = [
        (429, "retry-after: 30", limited(thirty), true),
        (429, "", limited(None), true),
        (403, "retry-after: 30", limited(thirty), true),
        (403, "x-ratelimit-remaining: 0", limited(None), true),
        (503, "", GitError::ServerError { host: host.clone(), status: 503 }, true),
        (
            403,
            "",
            GitError::Unauthorized { host: host.clone(), status: 403, detail: "why".to_owned() },
            false,
        ),
        (404, "", GitError::NotFound { url: desk.server.url(SLUG).to_string() }, false),
    ];
    // The same holds for the list of references and for the pack.
    for path in ["info/refs", "git-upload-pack"] {
        for (status, header, expected, transient) in &cases {
            desk.server.fault(&format!("shop.git/{path}"), Fault::Status(*status, header, "why".to_owned()));
            let error = desk.fetch().await.unwrap_err();
            assert_eq!((&error, error.is_transient()), (expected, *transient), "{path} {status}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_git_is_named_as_such() {
    let desk = Desk::new().await;
    desk.server
        .fault("info/refs", Fault::Status(200, "content-type: text/html", "<h1>Log in</h1>".to_owned()));
    let error = desk.fetch().await.unwrap_err().to_string();
    assert!(error.contains("answers `text/html`"), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let desk = Desk::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/acme/shop").parse().unwrap();
    let error = desk.fetch_with(|request| request.url = url).await.unwrap_err();
    assert!(matches!(&error, GitError::Unreachable { host, .. } if *host == closed.to_string()), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_transient() {
    let desk = Desk::new().await;
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    desk.server.repository(SLUG).commit("main", None, "one", &[("a", &noise)]);
    for path in ["info/refs", "git-upload-pack"] {
        desk.server.fault(path, Fault::Cut(40));
        let error = desk.fetch().await.unwrap_err();
        assert!(error.is_transient(), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_of_the_same_origin_is_followed_for_the_pack_too() {
    let desk = Desk::new().await;
    let head = desk.server.repository("acme/store").commit("main", None, "one", &[("a", b"a")]);
    let target = "location: /acme/store.git/info/refs?service=git-upload-pack";
    desk.server.fault("/acme/shop.git/", Fault::Status(301, target, String::new()));
    assert_eq!(desk.fetch().await.unwrap().base, head);
    let posts: Vec<_> = desk.server.seen().into_iter().filter(|request| request.method == "POST").collect();
    assert!(
        !posts.is_empty() && posts.iter().all(|request| request.uri.starts_with("/acme/store.git/")),
        "{posts:?}"
    );
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_refused_and_does_not_get_the_token() {
    let desk = Desk::new().await;
    let other = Server::start().await;
    other.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    let target = format!("location: {}/acme/shop.git/info/refs?service=git-upload-pack", other.origin());
    desk.server.fault("info/refs", Fault::Status(302, Box::leak(target.into_boxed_str()), String::new()));
    let error = desk.fetch().await.unwrap_err();
    assert!(error.to_string().contains("which may not get the token"), "{error}");
    assert!(other.seen().is_empty());

    let itself = "location: /acme/shop.git/info/refs";
    desk.server.fault("info/refs", Fault::Status(302, itself, String::new()));
    let error = desk.fetch().await.unwrap_err();
    assert!(error.to_string().contains("redirects more than"), "{error}");
}

#[tokio::test]
async fn a_configured_proxy_is_used_even_for_a_host_without_an_address() {
    let mut desk = Desk::new().await;
    let head = desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    let mut http = super::http(super::LONG);
    http.proxy = Some(Secret::new(desk.server.origin()));
    desk.transfers = Transfers::new(super::program(), &http);
    let url = "http://git.invalid/acme/shop".parse().unwrap();
    assert_eq!(desk.fetch_with(|request| request.url = url).await.unwrap().base, head);
    assert!(desk.server.seen()[0].uri.starts_with("http://git.invalid/"), "{:?}", desk.server.seen());
}

#[tokio::test]
async fn an_unusable_certificate_file_is_named() {
    let mut desk = Desk::new().await;
    let mut http = super::http(super::LONG);
    for content in [None, Some("no certificate")] {
        let file = desk.dir.path().join("ca.pem");
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        http.ca_file = Some(file);
        desk.transfers = Transfers::new(super::program(), &http);
        let error = desk.fetch().await.unwrap_err().to_string();
        assert!(error.contains("`http.ca_file`") && error.contains("ca.pem"), "{error}");
    }
}

#[tokio::test]
async fn a_hostile_configuration_does_not_lead_a_fetch_elsewhere() {
    let desk = Desk::new().await;
    let head = desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    let other = Server::start().await;
    mislead(&desk.git_dir(), &desk.server.origin(), &other.origin());
    assert_eq!(desk.fetch().await.unwrap().base, head);
    assert!(other.seen().is_empty());
    mislead(&desk.git_dir(), &desk.server.origin(), "file:///tmp");
    assert_eq!(desk.fetch().await.unwrap().base, head);
}

/// Makes the git directory rewrite every address of `from`.
pub fn mislead(git_dir: &Path, from: &str, to: &str) {
    fs::create_dir_all(git_dir).unwrap();
    git(git_dir, &["init", "--quiet", "--bare", "."]);
    for key in ["insteadOf", "pushInsteadOf"] {
        git(git_dir, &["config", &format!("url.{to}.{key}"), from]);
    }
    git(git_dir, &["config", "core.hooksPath", "/tmp"]);
}

#[tokio::test]
async fn a_checkout_writes_every_byte_as_git_has_it_and_no_git_directory() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let files: [(&str, &[u8]); 5] = [
        (".gitattributes", b"*.txt text eol=crlf\n*.c ident\n"),
        ("deep/er/a.txt", b"one\ntwo\n"),
        ("b.c", b"/* $Id$ */\n"),
        ("!run.sh", b"#!/bin/sh\n"),
        ("@link", b"../../etc/passwd"),
    ];
    let head = remote.commit("main", None, "one", &files);
    desk.fetch().await.unwrap();
    let tree = desk.dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    checkout(&desk.git_dir(), &head, &tree, &CancellationToken::new()).unwrap();
    assert_eq!(fs::read(tree.join("deep/er/a.txt")).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::read(tree.join("b.c")).unwrap(), b"/* $Id$ */\n");
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("../../etc/passwd"));
    let mode =
        |name: &str| std::os::unix::fs::MetadataExt::mode(&fs::metadata(tree.join(name)).unwrap()) & 0o111;
    assert_ne!(mode("run.sh"), 0);
    assert_eq!(mode("b.c"), 0);
    assert!(!tree.join(".git").exists());

    let cancelled = CancellationToken::new();
    cancelled.cancel();
    let second = desk.dir.path().join("second");
    fs::create_dir(&second).unwrap();
    let error = checkout(&desk.git_dir(), &head, &second, &cancelled).unwrap_err();
    assert!(error.to_string().contains("was cancelled"), "{error}");
    assert!(!second.join("run.sh").exists());
}
