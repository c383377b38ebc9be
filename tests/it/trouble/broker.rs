//! The broker goes away in the middle of a run.

use jira_agent_simulator::fault::{Action, Fault};

use super::{PATIENT, asked, calls, end_of, until_asked};
use crate::broker::wait_for;
use crate::world::{TICKET, World};

const MODEL: &str = "^/v1/messages$";
const STOPS: &str = "the connection to the queue is gone: the run stops, the task will be redelivered";

/// A worker whose model hangs at the first call.
async fn in_mid_run(world: &World) -> (tokio::process::Child, std::path::PathBuf) {
    world.simulator.faults().add(Fault::new(MODEL, Action::Hang).unwrap());
    world.publish(TICKET).await;
    let worker = world.start(&["run", "--once"], &[PATIENT]);
    until_asked(world, "POST", MODEL).await;
    worker
}

/// The run has begun again and ended with one of everything.
async fn finished(world: World, worker: (tokio::process::Child, std::path::PathBuf), tries: usize) {
    let ended = end_of(worker).await;
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(ended.log.matches(STOPS).count(), 1, "{}", ended.log);
    world.assert_fixed().await;
    assert_eq!((calls(&world).len(), asked(&world, "POST", MODEL)), (1, tries), "only the last was answered");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_loses_its_connection_was_no_idle_time() {
    let world = World::new().await;
    world.simulator.faults().add(Fault::new(MODEL, Action::Hang).unwrap().times(2));
    world.publish(TICKET).await;
    let slow = [("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "3s"), ("JIRA_AGENT__HTTP__RETRY_BUDGET", "10s")];
    let worker = world.start(&["run", "--idle-exit", "3s"], &slow);
    // The second try comes when the worker has worked for longer than it may be idle.
    wait_for("a second try", async || (asked(&world, "POST", MODEL) == 2).then_some(())).await;
    world.broker.close_connections("jira-agent-worker").await;
    finished(world, worker, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_connection_an_administrator_closes_begins_again() {
    let world = World::new().await;
    let worker = in_mid_run(&world).await;
    world.broker.close_connections("jira-agent-worker").await;
    finished(world, worker, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_during_which_the_broker_is_restarted_begins_again() {
    let world = World::alone().await;
    let worker = in_mid_run(&world).await;
    world.broker.control("restart").await;
    finished(world, worker, 2).await;
}
