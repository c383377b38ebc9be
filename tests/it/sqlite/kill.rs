//! A worker that is killed anywhere, by a real SIGKILL, leaves a file from which the next one goes on at once.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use jira_agent_worker::crash::POINTS;

use super::OnFile;
use crate::world::{TICKET, World};

async fn quickfix(point: &'static str) {
    let on = OnFile::of(World::new().await);
    on.insert(TICKET).await;
    // A time-out that no test waits for: the death is known from the lock.
    let late = ("JIRA_AGENT__QUEUE__LEASE_TIMEOUT", "10m");
    let dying = [late, ("JIRA_AGENT_CRASH_AT", point)];
    let first = on.work(&["run", "--once", "--idle-exit", "20s"], &dying).await;
    assert_eq!(first.status.signal(), Some(9), "killed at {point}: {}", first.log);
    let begun = Instant::now();
    let second = on.work(&["run", "--idle-exit", "1s"], &[late]).await;
    assert!(second.status.success(), "{}", second.log);
    assert!(begun.elapsed() < Duration::from_secs(60), "{point}: {:?}", begun.elapsed());
    let died = second.log.contains("tasks of workers that died");
    assert_eq!(died, point != "consume:acked", "{point}: {}", second.log);
    on.assert_fixed().await;
    let calls = on.world.simulator.models().calls().len();
    let paid_twice = ["edit:done", "check:done", "publish:committed"].contains(&point);
    assert_eq!(calls, if paid_twice { 2 } else { 1 }, "model calls after dying at {point}");
    on.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quickfix_from_a_file_ends_the_same_wherever_its_worker_is_killed() {
    for points in POINTS.chunks(4) {
        let runs: Vec<_> = points.iter().map(|point| tokio::spawn(quickfix(point))).collect();
        for run in runs {
            run.await.unwrap();
        }
    }
}
