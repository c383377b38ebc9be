//! The worker is told to stop, runs too long, is killed, or has nothing to do.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use jira_agent_simulator::fault::{Action, Fault};
use jira_agent_simulator::git_http::GitService;
use jira_agent_simulator::jira::Jira;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;

use super::{
    PATIENT, Thinking, asked, calls, end_of, hurry, processes, signal, until_asked, until_logged, workspaces,
};
use crate::broker::{SOON, wait_for};
use crate::world::{REPOSITORY, TICKET, World, ticket};

const MODEL: &str = "^/v1/messages$";

/// A worker whose model hangs at the first call.
async fn in_mid_run(world: &World, settings: &[(&str, &str)]) -> (tokio::process::Child, std::path::PathBuf) {
    world.simulator.faults().add(Fault::new(MODEL, Action::Hang).unwrap());
    world.publish(TICKET).await;
    let worker = world.start(&["run"], &[&[PATIENT][..], settings].concat());
    until_asked(world, "POST", MODEL).await;
    worker
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_that_is_told_to_stop_exits_at_once() {
    let world = World::new().await;
    for sent in [Signal::TERM, Signal::INT] {
        let worker = world.start(&["run"], &[]);
        until_logged(&worker.1, "\"consuming\"").await;
        signal(&worker.0, sent);
        let told = Instant::now();
        let ended = end_of(worker).await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_while_it_reads_its_settings_exits_in_good_order() {
    let world = World::new().await;
    let settings = std::fs::read(world.dir().join("jira-agent.toml")).unwrap();
    let pipe = world.dir().join("settings.pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let worker = world.start(&["run"], &[("JIRA_AGENT_CONFIG", pipe.to_str().unwrap())]);
    // It can be opened without waiting once the other end is open.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let open = async || File::options().write(true).custom_flags(nonblock).open(&pipe).ok();
    let mut writer = wait_for("the worker to read its settings", open).await;
    signal(&worker.0, Signal::TERM);
    writer.write_all(&settings).unwrap();
    drop(writer);
    let ended = end_of(worker).await;
    assert_eq!(ended.status.code(), Some(0), "{:?}: {}", ended.status, ended.log);
    world.finish().await;
}

/// Whether the process has taken SIGTERM over from the system.
fn handles_sigterm(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() >> (Signal::TERM.as_raw() - 1) & 1 == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_at_any_moment_of_its_start_exits_in_good_order() {
    let world = World::new().await;
    for number in 0..20 {
        let worker = world.start(&["run"], &[]);
        let id = worker.0.id().unwrap();
        let begun = Instant::now();
        while !handles_sigterm(id) {
            assert!(begun.elapsed() < SOON, "SIGTERM is not handled");
            tokio::task::yield_now().await;
        }
        // The moment is what this is about: each a little later than the one before.
        tokio::time::sleep(Duration::from_millis(2 * number)).await;
        signal(&worker.0, Signal::TERM);
        let ended = end_of(worker).await;
        assert_eq!(ended.status.code(), Some(0), "{number}: {:?}: {}", ended.status, ended.log);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_workspaces_that_others_may_write_to_is_refused_with_a_remedy() {
    let world = World::new().await;
    std::fs::create_dir(world.workspaces()).unwrap();
    std::fs::set_permissions(world.workspaces(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let ended = world.work(&["run", "--once"], &[]).await;
    assert_eq!(ended.status.code(), Some(78), "{}", ended.log);
    for part in
        ["worker.workspace_root", "others may write to it (mode 0777)", "set a directory that this user owns"]
    {
        assert!(ended.log.contains(part), "{part}: {}", ended.log);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_finishes_its_run_and_takes_no_other() {
    let world = World::speechless().await;
    let thinking = Thinking::first(&world);
    world.simulator.jira().add_issue(ticket("PROJ-2")).unwrap();
    world.publish(TICKET).await;
    let worker = world.start(&["run"], &[PATIENT]);
    thinking.begun().await;
    world.publish("PROJ-2").await;
    signal(&worker.0, Signal::TERM);
    until_logged(&worker.1, "shutting down: the run may finish within this time").await;
    thinking.answer();
    let ended = end_of(worker).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let left = world.broker.take("agent-tasks").await;
    assert_eq!(left.data, b"PROJ-2");
    assert!(!left.redelivered, "it was never handed out");
    world.assert_fixed().await;
    assert!(world.simulator.jira().issue("PROJ-2").unwrap().comments_by(Jira::AGENT).is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_done_when_the_drain_is_over_goes_back_unharmed() {
    let world = World::new().await;
    let worker = in_mid_run(&world, &[("JIRA_AGENT__WORKER__DRAIN_TIMEOUT", "1s")]).await;
    signal(&worker.0, Signal::TERM);
    let ended = end_of(worker).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(workspaces(&world), 0);
    hurry(&world, "agent-tasks", 1, "the worker was shut down").await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!((calls(&world).len(), asked(&world, "POST", MODEL)), (1, 2));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_worker_at_once_and_the_next_one_takes_over() {
    let world = World::new().await;
    let worker = in_mid_run(&world, &[]).await;
    signal(&worker.0, Signal::TERM);
    until_logged(&worker.1, "shutting down; a second signal exits at once").await;
    signal(&worker.0, Signal::TERM);
    let ended = end_of(worker).await;
    assert_eq!(ended.status.code(), Some(143), "{}", ended.log);
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_ended_and_tried_again() {
    let world = World::new().await;
    let worker = in_mid_run(&world, &[("JIRA_AGENT__WORKER__RUN_DEADLINE", "6s")]).await;
    world.broker.wait_for_depth(&world.queue, "agent-tasks.retry.30s", 1).await;
    assert_eq!(workspaces(&world), 0);
    hurry(
        &world,
        "agent-tasks.retry.30s",
        2,
        "step edit: the run took longer than worker.run_deadline (6 s)",
    )
    .await;
    // The same worker: its lease of the first attempt must not be in its way.
    wait_for("the ticket to be moved", async || (world.issue().status == "In Testing").then_some(())).await;
    signal(&worker.0, Signal::TERM);
    assert!(end_of(worker).await.status.success());
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_nothing_to_do_exits_when_it_may() {
    let world = World::new().await;
    let begun = Instant::now();
    let ended = world.work(&["run", "--idle-exit", "300ms"], &[]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains("Idle"), "{}", ended.log);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_leaves_is_swept_by_the_next() {
    let world = World::new().await;
    let worker = in_mid_run(&world, &[]).await;
    signal(&worker.0, Signal::KILL);
    assert_eq!(end_of(worker).await.status.code(), None);
    assert!(workspaces(&world) > 0, "SIGKILL leaves no time to clean up");
    let next = world.work_once().await;
    assert!(next.log.contains("workspaces of dead workers were removed"), "{}", next.log);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_does_not_outlive_its_killed_worker() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    world.publish(TICKET).await;
    let worker = world.start(&["run"], &[]);
    tokio::time::timeout(SOON, stall.reached()).await.expect("the clone hangs");
    signal(&worker.0, Signal::KILL);
    end_of(worker).await;
    wait_for("no process to be left", async || processes(&world).is_empty().then_some(())).await;
    stall.release();
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}
