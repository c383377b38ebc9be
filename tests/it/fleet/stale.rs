//! A worker that was frozen while another did its work changes nothing when it wakes up.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use jira_agent_simulator::fault::{Action, Fault};
use jira_agent_simulator::git_http::GitService;
use jira_agent_simulator::models::{Reply, Rule};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::broker::{SOON, wait_for};
use crate::world::{NEEDED, REPLY, REPOSITORY, TICKET, World};

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Freezes the worker, lets another finish, thaws it, and waits until it has seen that its connection is gone.
async fn outpaced(world: &World, worker: &Child, log: &std::path::Path) {
    signal(worker, Signal::STOP);
    world.broker.close_connections("(consuming)").await;
    world.work_once().await;
    world.assert_fixed().await;
    signal(worker, Signal::CONT);
    let seen = async || {
        let log = std::fs::read_to_string(log).unwrap();
        log.contains("the connection to the queue is gone").then_some(())
    };
    wait_for("the worker to wake up", seen).await;
}

async fn ends(world: World, mut worker: Child) {
    signal(&worker, Signal::TERM);
    assert!(tokio::time::timeout(SOON, worker.wait()).await.expect("it ends").unwrap().success());
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_up_with_the_models_reply_pushes_nothing() {
    let world = World::speechless().await;
    let (answer, wait) = channel();
    let wait = Mutex::new(wait);
    let think = move |_: &str| {
        let _ = tokio::task::block_in_place(|| wait.lock().unwrap().recv_timeout(SOON));
        Reply::text(REPLY)
    };
    world.answer(Rule::computed(NEEDED, think).unwrap().times(1));
    world.answer(Rule::new(NEEDED, Reply::text(REPLY)).unwrap());
    world.publish(TICKET).await;
    let (worker, log) = world.start(&["run"], &[("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "60s")]);
    let calls = || world.simulator.models().calls().len();
    wait_for("the model to be asked", async || (calls() == 1).then_some(())).await;
    let answering = async {
        answer.send(()).unwrap();
    };
    let (..) = tokio::join!(outpaced(&world, &worker, &log), answering);
    assert_eq!(world.simulator.github().pushes().len(), 1);
    ends(world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_up_in_its_push_does_not_overwrite_the_branch() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::ReceivePack, 0);
    world.publish(TICKET).await;
    let (worker, log) = world.start(&["run"], &[]);
    tokio::time::timeout(SOON, stall.reached()).await.expect("the push hangs");
    outpaced(&world, &worker, &log).await;
    stall.release();
    ends(world, worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_wakes_up_before_its_pull_request_opens_no_second_one() {
    let world = World::new().await;
    let path = "/pulls$";
    world.simulator.faults().add(Fault::new(path, Action::Delay(1500)).unwrap().method("POST"));
    world.publish(TICKET).await;
    let (worker, log) = world.start(&["run"], &[]);
    let path = Regex::new(path).unwrap();
    let asked = || world.simulator.journal().matching("POST", &path).len();
    wait_for("the pull request to be asked for", async || (asked() == 1).then_some(())).await;
    outpaced(&world, &worker, &log).await;
    ends(world, worker).await;
}
