use jira_agent_worker::git::{Change, GitError, PushOutcome, commit, find_run_commit, message, unified_diff};

use super::server::{Fault, Server, git};
use super::{Desk, SLUG, new_commit};

#[tokio::test]
async fn a_new_branch_is_made_then_moved_then_found_already_there() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a"), ("!run.sh", b"x")]);
    desk.fetch().await.unwrap();
    let first = desk.commit(&base, "b", b"1");
    assert_eq!(desk.push(&first, None).await.unwrap(), PushOutcome::Pushed { messages: String::new() });
    assert_eq!(remote.head("ai/PROJ-1"), Some(first.clone()));
    let second = desk.commit(&first, "run.sh", b"y");
    assert!(matches!(desk.push(&second, Some(&first)).await.unwrap(), PushOutcome::Pushed { .. }));
    // What was said before the answer was lost is said again.
    assert_eq!(desk.push(&second, Some(&first)).await.unwrap(), PushOutcome::AlreadyThere);
    assert_eq!(desk.push(&second, None).await.unwrap(), PushOutcome::AlreadyThere);
    assert_eq!(remote.head("ai/PROJ-1"), Some(second.clone()));
    let listing = remote.git(&["ls-tree", "-r", "--format=%(objectmode) %(path)", second.as_str()]);
    assert_eq!(listing, "100644 a\n100644 b\n100755 run.sh\n");
    remote.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn a_branch_that_is_not_where_it_was_expected_is_left_alone() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"ours");
    assert_eq!(desk.push(&ours, Some(&base)).await.unwrap(), PushOutcome::LeaseLost { found: None });
    let theirs = remote.commit("ai/PROJ-1", Some("main"), "theirs", &[("b", b"theirs")]);
    let lost = PushOutcome::LeaseLost { found: Some(theirs.clone()) };
    assert_eq!(desk.push(&ours, None).await.unwrap(), lost);
    assert_eq!(desk.push(&ours, Some(&base)).await.unwrap(), lost);
    assert_eq!(remote.head("ai/PROJ-1"), Some(theirs));
    assert!(desk.server.seen().iter().all(|request| !request.uri.ends_with("/git-receive-pack")));
}

#[tokio::test]
async fn a_branch_that_moves_between_our_look_and_our_push_is_a_lost_lease() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"ours");
    // Somebody else's branch appears while the pack is on its way.
    remote.hook("pre-receive", "unset GIT_QUARANTINE_PATH; git update-ref refs/heads/ai/PROJ-1 main");
    assert_eq!(desk.push(&ours, None).await.unwrap(), PushOutcome::LeaseLost { found: Some(base.clone()) });
    assert_eq!(remote.head("ai/PROJ-1"), Some(base));
}

#[tokio::test]
async fn a_commit_that_does_not_descend_from_the_branch_is_not_forced() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    let theirs = remote.commit("ai/PROJ-1", Some("main"), "theirs", &[("b", b"theirs")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"ours");
    assert_eq!(desk.push(&ours, Some(&theirs)).await.unwrap(), PushOutcome::NotFastForward);
    let wanted = desk.fetch_with(|request| request.agent_branch = Some(super::branch("ai/PROJ-1")));
    wanted.await.unwrap();
    assert_eq!(desk.push(&ours, Some(&theirs)).await.unwrap(), PushOutcome::NotFastForward);
    assert_eq!(remote.head("ai/PROJ-1"), Some(theirs));
}

#[tokio::test]
async fn a_refusal_by_a_hook_comes_with_its_words() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"b");
    remote.hook(
        "pre-receive",
        "printf '\\033[31mGH013: rule violations\\033[0m\\nSign your commits.\\n' >&2; exit 1",
    );
    let PushOutcome::Refused { message } = desk.push(&ours, None).await.unwrap() else { panic!() };
    assert_eq!(message, "pre-receive hook declined\nGH013: rule violations\nSign your commits.");
    remote.hook("pre-receive", "exit 0");
    remote.hook("update", "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1");
    let PushOutcome::Refused { message } = desk.push(&ours, None).await.unwrap() else { panic!() };
    assert!(message.starts_with("hook declined\nxxxx") && message.len() < 5_000, "{} bytes", message.len());
    assert_eq!(remote.head("ai/PROJ-1"), None);

    remote.hook("update", "exit 0");
    remote.hook("post-receive", "echo Open a pull request at https://example.com/new");
    let pushed = desk.push(&ours, None).await.unwrap();
    assert_eq!(
        pushed,
        PushOutcome::Pushed { messages: "Open a pull request at https://example.com/new".to_owned() }
    );
}

#[tokio::test]
async fn a_token_without_the_right_to_write_is_unauthorized() {
    let desk = Desk::new().await;
    let base = desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"b");
    let words = "Write access to repository not granted.";
    desk.server.fault("git-receive-pack", Fault::Status(403, "", words.to_owned()));
    let error = desk.push(&ours, None).await.unwrap_err();
    assert!(
        matches!(&error, GitError::Unauthorized { status: 403, detail, .. } if detail == words),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_hostile_configuration_does_not_lead_a_push_elsewhere() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let ours = desk.commit(&base, "b", b"b");
    let other = Server::start().await;
    super::fetch::mislead(&desk.git_dir(), &desk.server.origin(), &other.origin());
    assert!(matches!(desk.push(&ours, None).await.unwrap(), PushOutcome::Pushed { .. }));
    assert_eq!(remote.head("ai/PROJ-1"), Some(ours));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_big_file_goes_through() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a")]);
    desk.fetch().await.unwrap();
    let big = noise(10 << 20);
    let ours = desk.commit(&base, "big.bin", &big);
    assert!(matches!(desk.push(&ours, None).await.unwrap(), PushOutcome::Pushed { .. }));
    let object = format!("{ours}:big.bin");
    assert_eq!(remote.git(&["cat-file", "-s", &object]).trim(), big.len().to_string());
    let ours = git(&desk.git_dir(), &["rev-parse", &object]);
    assert_eq!(remote.git(&["rev-parse", &object]), ours);
}

#[tokio::test]
async fn a_base_branch_that_has_moved_does_not_make_the_push_send_the_whole_tree() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let files: [(&str, &[u8]); 2] = [("big.bin", &noise(2 << 20)), ("a", b"a")];
    remote.commit("main", None, "zero", &[("a", b"0")]);
    let base = remote.commit("main", Some("main"), "one", &files);
    desk.fetch().await.unwrap();
    remote.commit("main", Some("main"), "two", &[("a", b"moved")]);
    let ours = desk.commit(&base, "b", b"b");
    assert!(matches!(desk.push(&ours, None).await.unwrap(), PushOutcome::Pushed { .. }));
    let sent = desk.server.seen().last().unwrap().body_bytes;
    assert!(sent < 2_000, "{sent} bytes were sent");
    remote.git(&["fsck", "--strict"]);
}

#[tokio::test]
async fn a_later_run_finds_the_commit_of_an_earlier_one_and_goes_on_from_it() {
    let desk = Desk::new().await;
    let remote = desk.server.repository(SLUG);
    let base = remote.commit("main", None, "one", &[("a", b"a\n")]);
    desk.fetch().await.unwrap();
    let mut plan = new_commit(&base, Vec::new());
    plan.allow_empty = true;
    let plan = commit(&desk.git_dir(), &plan).unwrap();
    assert!(matches!(desk.push(&plan, None).await.unwrap(), PushOutcome::Pushed { .. }));
    remote.commit("ai/PROJ-1", Some("ai/PROJ-1"), "by a person", &[("c", b"c")]);

    let later = Desk { server: desk.server, dir: tempfile::tempdir().unwrap(), transfers: desk.transfers };
    let wanted = later.fetch_with(|request| request.agent_branch = Some(super::branch("ai/PROJ-1")));
    let head = wanted.await.unwrap().agent_head.unwrap();
    let run = "01K9ZW4R7M1S8T3V5X7Z9B1D3F".parse().unwrap();
    assert_eq!(find_run_commit(&later.git_dir(), &head, &run, 50).unwrap(), Some(plan.clone()));
    assert_eq!(find_run_commit(&later.git_dir(), &head, &run, 1).unwrap(), None);
    let other = "01K9ZW4R7M1S8T3V5X7Z9B1D3G".parse().unwrap();
    assert_eq!(find_run_commit(&later.git_dir(), &head, &other, 50).unwrap(), None);
    assert!(message(&later.git_dir(), &plan).unwrap().starts_with("PROJ-1: Mend the cart\n"));

    let change = Change::Write { path: "a".to_owned(), bytes: b"b\n".to_vec(), executable: None };
    let next = commit(&later.git_dir(), &new_commit(&head, vec![change])).unwrap();
    assert!(matches!(later.push(&next, Some(&head)).await.unwrap(), PushOutcome::Pushed { .. }));
    let diff = unified_diff(&later.git_dir(), &head, &next, 10_000).unwrap();
    assert!(diff.text.contains("-a\n+b\n") && !diff.truncated, "{}", diff.text);
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
