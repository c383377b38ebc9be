use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jira_agent_worker::git::{GitError, TRANSFER_COMMAND, Transfers};
use tokio_util::sync::CancellationToken;

use super::server::Fault;
use super::{Desk, LONG, SLUG, http, program, wait_for};

/// The longest time that a cancelled transfer may take.
const SOON: Duration = Duration::from_secs(2);

/// A desk whose transfer children can be told from those of other tests by their program's path.
async fn marked_desk() -> (Desk, String) {
    let mut desk = Desk::new().await;
    let marked = desk.dir.path().join("marked-worker");
    std::os::unix::fs::symlink(program(), &marked).unwrap();
    desk.transfers = Transfers::new(marked.clone(), &http(LONG));
    (desk, marked.to_str().unwrap().to_owned())
}

/// How many processes of the machine run the program.
fn living(program: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().map(|entry| fs::read(entry.unwrap().path().join("cmdline")));
    lines.filter(|line| line.as_ref().is_ok_and(|line| line.starts_with(program.as_bytes()))).count()
}

#[tokio::test]
async fn a_cancelled_transfer_ends_soon_and_leaves_no_process() {
    // Before the list of references, before the pack, and in the middle of the pack.
    let pack = "shop.git/git-upload-pack";
    let faults = [("info/refs", Fault::Silence), (pack, Fault::Silence), (pack, Fault::Stall(30))];
    for (path, fault) in faults {
        let (desk, program) = marked_desk().await;
        let noise: Vec<u8> =
            (0..500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        desk.server.repository(SLUG).commit("main", None, "one", &[("a", &noise)]);
        desk.server.fault(path, fault);
        let cancel = CancellationToken::new();
        let transfer = desk.transfers.fetch(desk.fetch_request(), &cancel, LONG, |_| {});
        let cancelling = async {
            wait_for("the hanging request", || desk.server.seen().iter().any(|seen| seen.uri.contains(path)))
                .await;
            assert_eq!(living(&program), 1);
            cancel.cancel();
            Instant::now()
        };
        let (result, cancelled_at) = tokio::join!(transfer, cancelling);
        assert_eq!(result.unwrap_err(), GitError::Cancelled);
        assert!(cancelled_at.elapsed() < SOON, "{:?}", cancelled_at.elapsed());
        assert_eq!(living(&program), 0);
        desk.dir.close().unwrap();
    }
}

#[tokio::test]
async fn a_dropped_transfer_leaves_no_process() {
    let (desk, program) = marked_desk().await;
    desk.server.fault("info/refs", Fault::Silence);
    let cancel = CancellationToken::new();
    let transfer = desk.transfers.fetch(desk.fetch_request(), &cancel, LONG, |_| {});
    let begun = wait_for("the hanging request", || !desk.server.seen().is_empty());
    tokio::select! {
        result = transfer => panic!("{result:?}"),
        () = begun => {}
    }
    wait_for("the child's end", || living(&program) == 0).await;
}

#[tokio::test]
async fn a_transfer_that_takes_too_long_is_stopped() {
    let (desk, program) = marked_desk().await;
    desk.server.fault("info/refs", Fault::Silence);
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let cancel = CancellationToken::new();
    let error = desk.transfers.fetch(desk.fetch_request(), &cancel, limit, |_| {}).await.unwrap_err();
    assert!(matches!(&error, GitError::TimedOut { limit: told, .. } if *told == limit), "{error:?}");
    assert!(error.is_transient());
    assert!(started.elapsed() < limit + SOON);
    assert_eq!(living(&program), 0);
}

#[tokio::test]
async fn a_silent_remote_is_given_up_long_before_the_whole_time_is_over() {
    let idle = Duration::from_millis(300);
    let desk = Desk::with_idle(idle).await;
    desk.server.repository(SLUG).commit("main", None, "one", &[("a", b"a")]);
    let faults = [
        ("info/refs", Fault::Silence),
        ("info/refs", Fault::Stall(20)),
        ("git-upload-pack", Fault::Stall(3)),
    ];
    for (path, fault) in faults {
        desk.server.fault(path, fault);
        let started = Instant::now();
        let error = desk.fetch().await.unwrap_err();
        assert!(matches!(&error, GitError::TimedOut { limit, .. } if *limit == idle), "{error:?}");
        assert!(started.elapsed() < idle + SOON, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn the_child_ends_when_its_parent_is_gone() {
    let desk = Desk::new().await;
    desk.server.fault("info/refs", Fault::Silence);
    let mut child = Command::new(program())
        .arg(TRANSFER_COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seconds = serde_json::json!({"secs": 60, "nanos": 0});
    let request = serde_json::json!({
        "url": desk.server.url(SLUG),
        "git_dir": desk.git_dir(),
        "token": null,
        "network": {"proxy": null, "no_proxy": null, "ca_file": null,
                    "connect_timeout": seconds, "idle_timeout": seconds},
        "job": {"job": "fetch", "base": null, "agent_branch": null, "base_depth": 1, "agent_depth": 50},
    });
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{request}").unwrap();
    wait_for("the hanging request", || !desk.server.seen().is_empty()).await;
    assert!(child.try_wait().unwrap().is_none());
    // The kernel closes a dead parent's pipes.
    drop(input);
    wait_for("the child's end", || child.try_wait().unwrap().is_some()).await;
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_answered_without_being_repeated() {
    let mut child = Command::new(program())
        .arg(TRANSFER_COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"token\": \"hunter2\", \"url\": 5}\n").unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains("cannot be read") && !output.contains("hunter2"), "{output}");
}

#[tokio::test]
async fn a_program_that_is_no_transfer_child_is_an_error_with_its_name() {
    let mut desk = Desk::new().await;
    desk.transfers = Transfers::new("/nonexistent/worker".into(), &http(LONG));
    let error = desk.fetch().await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/worker"), "{error}");
    desk.transfers = Transfers::new("/bin/true".into(), &http(LONG));
    let error = desk.fetch().await.unwrap_err().to_string();
    assert!(error.contains("ended without an answer"), "{error}");
}
