//! A run that people cancel stops within seconds, wherever it is, and its ticket says who wanted it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jira_agent::domain::Order;
use jira_agent::queue::TaskQueue as _;
use jira_agent_simulator::fault::{Action, Fault};
use jira_agent_simulator::git_http::GitService;
use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::{Failure, Reply, Rule};
use regex::Regex;

use crate::broker::{SOON, wait_for};
use crate::world::{NEEDED, REPLY, REPOSITORY, TICKET, World};

/// How soon a cancelled run has ended, and its ticket says so.
const PROMPT: Duration = Duration::from_secs(5);
/// The server that hangs is not what ends the run.
const PATIENT: [(&str, &str); 2] =
    [("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "90s"), ("JIRA_AGENT__HTTP__TIMEOUT", "90s")];

async fn cancel(world: &World) -> Instant {
    let order =
        Order::Cancel { ticket: TICKET.parse().unwrap(), by: "dana".parse().unwrap(), at: Timestamp::now() };
    world.queue.order(&order).await.unwrap();
    Instant::now()
}

/// Waits for `reached`, cancels, and checks that the run ends at once with one comment that says who did it.
async fn cancelled_when(world: &World, reached: impl Future<Output = ()>) {
    world.publish(TICKET).await;
    let (mut worker, log) = world.start(&["run", "--once"], &PATIENT);
    tokio::time::timeout(SOON, reached).await.expect("the run comes so far");
    let asked = cancel(world).await;
    let Ok(status) = tokio::time::timeout(SOON, worker.wait()).await else {
        panic!("the worker goes on: {}", std::fs::read_to_string(log).unwrap());
    };
    let log = std::fs::read_to_string(log).unwrap();
    assert!(status.unwrap().success(), "{log}");
    assert!(asked.elapsed() < PROMPT, "it took {:?}: {log}", asked.elapsed());
    let comments = world.comments();
    let telling: Vec<&String> = comments.iter().filter(|comment| comment.contains("cancelled by")).collect();
    assert_eq!(telling.len(), 1, "{comments:?}");
    assert!(telling[0].contains("dana"), "{comments:?}");
    assert_eq!(world.depths().await, []);
}

/// Ends when this address was asked.
async fn until_asked(world: &World, method: &str, path: &str) {
    let path = Regex::new(path).unwrap();
    let asked = async || (!world.simulator.journal().matching(method, &path).is_empty()).then_some(());
    wait_for("the request", asked).await;
}

async fn while_a_request_hangs(method: &str, path: &str) -> World {
    let world = World::new().await;
    world.simulator.faults().add(Fault::new(path, Action::Hang).unwrap().method(method));
    cancelled_when(&world, until_asked(&world, method, path)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn while_jira_does_not_answer_the_claim() {
    let world = while_a_request_hangs("GET", "^/rest/api/3/issue/PROJ-1").await;
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_git_server_hangs_in_the_clone() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    cancelled_when(&world, stall.reached()).await;
    stall.release();
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_model_thinks() {
    let world = while_a_request_hangs("POST", "^/v1/messages$").await;
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_the_models_stream() {
    let world = World::speechless().await;
    let hung = Reply::failing(REPLY, Failure::HungStream { after_events: 4 });
    world.answer(Rule::new(NEEDED, hung).unwrap());
    let begun = async {
        let models = world.simulator.models();
        wait_for("a call", async || (!models.calls().is_empty()).then_some(())).await;
    };
    cancelled_when(&world, begun).await;
    assert!(world.simulator.github().pushes().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_git_server_hangs_in_the_push() {
    let world = World::new().await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::ReceivePack, 0);
    cancelled_when(&world, stall.reached()).await;
    stall.release();
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_github_does_not_open_the_pull_request() {
    let world = while_a_request_hangs("POST", "/pulls$").await;
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_jira_does_not_take_the_report() {
    let world = while_a_request_hangs("POST", "^/rest/api/3/issue/PROJ-1/comment$").await;
    assert_eq!(world.pulls().len(), 1, "what was published stays");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_order_was_missed_is_found_on_the_ticket_once_orders_are_heard_again() {
    let world = World::new().await;
    world.publish(TICKET).await;
    world.simulator.faults().add(Fault::new("^/v1/messages$", Action::Hang).unwrap().method("POST"));
    let (mut worker, log) = world.start(&["run", "--once"], &PATIENT);
    until_asked(&world, "POST", "^/v1/messages$").await;
    // The order itself reached nobody.
    let request = serde_json::json!({"by": "dana", "at": Timestamp::now().to_string()});
    world.simulator.jira().set_property(TICKET, "jira-agent-cancel", request).unwrap();
    world.broker.close_connections("(orders)").await;
    let asked = Instant::now();
    let Ok(status) = tokio::time::timeout(SOON, worker.wait()).await else {
        panic!("the worker goes on: {}", std::fs::read_to_string(log).unwrap());
    };
    assert!(status.unwrap().success(), "{}", std::fs::read_to_string(log).unwrap());
    assert!(asked.elapsed() < PROMPT, "it took {:?}", asked.elapsed());
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains("cancelled by dana"), "{comments:?}");
    assert!(world.pulls().is_empty());
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_ticket_that_is_meant_is_cancelled() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let stall = world.simulator.github().stall(REPOSITORY, GitService::UploadPack, 100);
    let (mut worker, log) = world.start(&["run", "--once"], &PATIENT);
    tokio::time::timeout(SOON, stall.reached()).await.expect("the clone hangs");
    let other = Order::Cancel {
        ticket: "PROJ-2".parse().unwrap(),
        by: "dana".parse().unwrap(),
        at: Timestamp::now(),
    };
    world.queue.order(&other).await.unwrap();
    let before = Order::Cancel {
        ticket: TICKET.parse().unwrap(),
        by: "dana".parse().unwrap(),
        at: Timestamp::now() - jiff::SignedDuration::from_hours(1),
    };
    world.queue.order(&before).await.unwrap();
    stall.release();
    let status = tokio::time::timeout(SOON, worker.wait()).await.expect("the worker ends").unwrap();
    assert!(status.success(), "{}", std::fs::read_to_string(log).unwrap());
    world.assert_fixed().await;
    assert_eq!(world.issue().comments_by(Jira::AGENT).len(), 1);
    world.finish().await;
}
