//! The broker goes away in the middle of a run.

use jira_agent_simulator::fault::{Action, Fault};

use super::{PATIENT, calls, end_of, until_asked};
use crate::world::{TICKET, World};

const UNTIL_IDLE: [&str; 3] = ["run", "--idle-exit", "2s"];
const STOPS: &str = "the connection to the queue is gone: the run stops, the task will be redelivered";

/// A worker whose model hangs at the first call.
async fn in_mid_run(world: &World) -> (tokio::process::Child, std::path::PathBuf) {
    world.simulator.faults().add(Fault::new("^/v1/messages$", Action::Hang).unwrap());
    world.publish(TICKET).await;
    let worker = world.start(&UNTIL_IDLE, &[PATIENT]);
    until_asked(world, "POST", "^/v1/messages$").await;
    worker
}

/// The run has begun again and ended with one of everything.
async fn finished(world: World, worker: (tokio::process::Child, std::path::PathBuf)) {
    let ended = end_of(worker).await;
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(ended.log.matches(STOPS).count(), 1, "{}", ended.log);
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1, "the first call was never answered");
    assert_eq!(super::asked(&world, "POST", "^/v1/messages$"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_connection_an_administrator_closes_begins_again() {
    let world = World::new().await;
    let worker = in_mid_run(&world).await;
    world.broker.close_connections("jira-agent-worker").await;
    finished(world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_during_which_the_broker_is_restarted_begins_again() {
    let world = World::alone().await;
    let worker = in_mid_run(&world).await;
    world.broker.control("restart").await;
    finished(world, worker).await;
}
