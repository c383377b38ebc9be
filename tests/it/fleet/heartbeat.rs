//! A worker that waits for a server keeps its connection to the broker alive.

use std::time::Duration;

use jira_agent_simulator::git_http::GitService;

use crate::broker::SOON;
use crate::world::{REPOSITORY, TICKET, World};

/// How long the git server is silent; the broker takes a connection for dead after some 15 s without a heartbeat.
/// `JIRA_AGENT_TEST_SILENCE_SECONDS=600` shows ten minutes.
fn silence() -> Duration {
    let seconds = std::env::var("JIRA_AGENT_TEST_SILENCE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_server_that_is_silent_for_long_does_not_cost_the_connection() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    world.publish(TICKET).await;
    let patient = [
        ("JIRA_AGENT__QUEUE__HEARTBEAT", "5s"),
        ("JIRA_AGENT__WORKER__CLONE_TIMEOUT", "20m"),
        ("JIRA_AGENT__HTTP__TIMEOUT", "15m"),
        ("JIRA_AGENT__QUEUE__CONSUMER_TIMEOUT", "2h"),
    ];
    let (mut worker, log) = world.start(&["run", "--once"], &patient);
    tokio::time::timeout(SOON, stall.reached()).await.expect("the clone hangs");
    // The silence itself is what is tested.
    tokio::time::sleep(silence()).await;
    stall.release();
    let status = tokio::time::timeout(2 * SOON, worker.wait()).await.expect("the worker ends").unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("\"consuming\"").count(), 1, "connected once: {log}");
    world.assert_fixed().await;
    world.finish().await;
}
