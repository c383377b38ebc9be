//! Drains are no failures, however many.

use jira_agent_simulator::fault::{Action, Fault};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};

use super::number;
use crate::broker::wait_for;
use crate::world::{TICKET, World};

#[tokio::test(flavor = "multi_thread")]
async fn ten_drains_in_a_row_count_as_nothing() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let path = "^/v1/messages$";
    world.simulator.faults().add(Fault::new(path, Action::Hang).unwrap().times(10));
    let settings = [("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "60s"), ("JIRA_AGENT__WORKER__DRAIN_TIMEOUT", "1s")];
    let path = Regex::new(path).unwrap();
    for drains in 1..=10 {
        let (mut worker, log) = world.start(&["run"], &settings);
        let asked = || world.simulator.journal().matching("POST", &path).len();
        wait_for("the model to be asked", async || (asked() == drains).then_some(())).await;
        let id = Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let status = worker.wait().await.unwrap();
        let log = std::fs::read_to_string(log).unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("the worker was shut down before it could finish"), "{log}");
    }
    let message = world.broker.take("agent-tasks").await;
    let counts = ["x-attempt", "x-crashes", "x-waits", "x-delivery-count"].map(|name| number(&message, name));
    assert_eq!(counts, [1, 0, 0, 0]);
    let body = String::from_utf8(message.data.clone()).unwrap();
    world.broker.publish(&body, message.properties.clone()).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}
