//! Several processes at one file, some of which die.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jira_agent::domain::Task;
use jira_agent::queue::{Consumer, Settled, TaskQueue as _};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{Home, environment, wait_for_backlog};
use crate::broker::SOON;
use crate::world::binary;

#[tokio::test(flavor = "multi_thread")]
async fn many_consumers_at_one_file_share_the_tasks() {
    const TASKS: usize = 120;
    let home = Home::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let queue = Arc::new(home.queue().await);
        for _ in 0..2 {
            let (queue, seen) = (queue.clone(), seen.clone());
            working.spawn(async move {
                let mut consumer: Box<dyn Consumer> = queue.consume().await.unwrap();
                loop {
                    let delivery = consumer.next().await.unwrap();
                    let id = delivery.info.message_id.clone().unwrap();
                    assert!(!delivery.info.redelivered, "nobody died");
                    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
                    seen.lock().unwrap().push(id);
                }
            });
        }
    }
    let mut published = BTreeSet::new();
    let publisher = home.queue().await;
    for number in 1..=TASKS {
        let task = Task::new(format!("PROJ-{number}").parse().unwrap());
        publisher.publish(&task).await.unwrap();
        published.insert(task.id.to_string());
    }
    wait_for_backlog(&publisher, [0; 4]).await;
    let all = crate::broker::wait_for("every ack to be noted", async || {
        let seen = seen.lock().unwrap();
        (seen.len() >= TASKS).then(|| seen.clone())
    });
    let all = all.await;
    working.shutdown().await;
    assert_eq!(all.len(), TASKS, "none twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), published);
}

/// Kills a process that enqueues, `after` so many of its tasks were confirmed; gives the ids that it was told.
async fn confirmed(home: &Home, after: usize) -> Vec<String> {
    let keys: Vec<String> = (1..=400).map(|number| format!("PROJ-{number}")).collect();
    let mut command = tokio::process::Command::new(binary("jira-agent-producer"));
    let path = home.path();
    command.env_clear().envs(environment(&path)).arg("enqueue").args(keys);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut producer = command.spawn().unwrap();
    let mut lines = BufReader::new(producer.stdout.take().unwrap()).lines();
    let mut ids = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        ids.push(line.split(' ').next().unwrap().to_owned());
        if ids.len() == after {
            producer.start_kill().unwrap();
        }
    }
    assert_eq!(producer.wait().await.unwrap().code(), None, "it was killed in the middle");
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_outlives_the_process_that_published_it() {
    for after in [1, 7, 40] {
        let home = Home::new();
        let ids = confirmed(&home, after).await;
        assert!(ids.len() >= after);
        let mut plain = home.plain().await;
        let kept: Vec<String> =
            sqlx::query_scalar("SELECT message_id FROM tasks WHERE state = 'ready' ORDER BY number")
                .fetch_all(&mut plain)
                .await
                .unwrap();
        assert_eq!(kept[..ids.len()], ids, "killed after {after}");
        let whole: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut plain).await.unwrap();
        assert_eq!(whole, "ok");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_takes_nothing_from_those_who_live() {
    let home = Home::new();
    let (ours, theirs) = (home.queue().await, home.queue().await);
    ours.publish(&super::task()).await.unwrap();
    let mut consumer = ours.consume().await.unwrap();
    let held = super::next(&mut consumer).await;
    // As another process finds it whose clock was set forward.
    let mut plain = home.plain().await;
    sqlx::query("UPDATE owners SET deadline = 1").execute(&mut plain).await.unwrap();
    let _looking = theirs.consume().await.unwrap();
    crate::broker::wait_for("the next sign of life", async || {
        let deadlines: Vec<i64> =
            sqlx::query_scalar("SELECT deadline FROM owners").fetch_all(&mut plain).await.unwrap();
        assert_eq!(deadlines.len(), 2, "nobody is taken for dead");
        deadlines.iter().all(|deadline| *deadline > 1).then_some(())
    })
    .await;
    assert!(!held.lost().is_cancelled());
    assert_eq!(held.ack().await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hangs_loses_its_task_after_the_time_out_and_does_nothing_when_it_wakes_up() {
    use jira_agent_simulator::fault::{Action, Fault};

    use crate::world::{TICKET, World};

    let on = super::OnFile::of(World::new().await);
    on.world.simulator.faults().add(Fault::new("^/v1/messages$", Action::Hang).unwrap());
    on.insert(TICKET).await;
    let patient = ("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "60s");
    let (mut stopped, log) = on.start(&["run", "--once"], &[patient]);
    crate::broker::wait_for("the model to be asked", async || {
        let asked = regex::Regex::new("^/v1/messages$").unwrap();
        (!on.world.simulator.journal().matching("POST", &asked).is_empty()).then_some(())
    })
    .await;
    let send = |signal| {
        let id = rustix::process::Pid::from_raw(stopped.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    };
    // Not in the middle of a write, with which it would lock everybody else out.
    let mut plain = on.home.plain().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut plain).await.unwrap();
    send(Signal::STOP);
    let state = format!("/proc/{}/stat", stopped.id().unwrap());
    let is_stopped = async || std::fs::read_to_string(&state).unwrap().contains(") T ").then_some(());
    crate::broker::wait_for("it to stop", is_stopped).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut plain).await.unwrap();
    let begun = Instant::now();
    let next = on.work(&["run", "--once", "--idle-exit", "20s"], &[]).await;
    assert!(next.status.success(), "{}", next.log);
    assert!(begun.elapsed() > Duration::from_secs(3), "a process that only hangs keeps its task for a while");
    send(Signal::CONT);
    let woken =
        async || std::fs::read_to_string(&log).unwrap().contains("has lost what it held").then_some(());
    crate::broker::wait_for("the first to notice", woken).await;
    send(Signal::TERM);
    let status = tokio::time::timeout(SOON, stopped.wait()).await.expect("it stops").unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(&log).unwrap());
    on.assert_fixed().await;
    on.world.finish().await;
}
