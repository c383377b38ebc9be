use std::time::Instant;

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::jira::{self, rate_limited};
use jira_agent_simulator::models::Reply;
use jira_agent_simulator::service::Service;
use jira_agent_simulator::{Simulator, SimulatorOptions};
use regex::Regex;
use reqwest::{Method, Response};
use serde_json::json;

use super::support::{HANG, PATIENCE, World, client, document, nothing, read, world};

const COMMENTS: &str = "issue/PROJ-1/comment";

fn on_comments(action: Action) -> Fault {
    Fault::new("/issue/PROJ-1/comment$", action).unwrap().service(Service::Jira).method("POST")
}

async fn comment(world: &World) -> reqwest::Result<Response> {
    world.jira(Method::POST, COMMENTS).json(&json!({"body": document("hello")})).send().await
}

fn comments(world: &World) -> usize {
    world.simulator.jira().issue("PROJ-1").unwrap().comments.len()
}

#[tokio::test]
async fn a_status_is_answered_and_nothing_is_done() {
    let world = world().await;
    let id = world
        .simulator
        .faults()
        .add(on_comments(Action::Status(Answer::new(502).body("bad gateway"))).skip(1));
    read(comment(&world).await.unwrap(), 201).await;
    assert_eq!(read(comment(&world).await.unwrap(), 502).await, "bad gateway");
    read(comment(&world).await.unwrap(), 201).await;
    assert_eq!((comments(&world), world.simulator.faults().fired(id)), (2, 1));
    assert!(world.simulator.faults().unfired().is_empty());
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_status_after_hides_a_write_that_was_done() {
    let world = world().await;
    world.simulator.faults().add(on_comments(Action::StatusAfter(Answer::new(502))));
    nothing(comment(&world).await.unwrap(), 502).await;
    assert_eq!(comments(&world), 1);
}

#[tokio::test]
async fn a_dropped_connection_gives_no_answer_before_or_after_the_write() {
    let world = world().await;
    let faults = world.simulator.faults();
    faults.add(on_comments(Action::DropBefore).times(10));
    assert!(comment(&world).await.is_err());
    assert_eq!(comments(&world), 0);
    faults.end_all();
    // A client of its own: a fresh connection is not retried by the client itself.
    let world = World { client: client(), ..world };
    world.simulator.faults().add(on_comments(Action::DropAfter));
    assert!(comment(&world).await.is_err());
    assert_eq!(comments(&world), 1);
    let entry = world.simulator.journal().entries().pop().unwrap();
    assert_eq!((entry.status, entry.fault.as_deref()), (None, Some("DropAfter")));
}

#[tokio::test]
async fn a_hang_lasts_until_the_client_gives_up_or_the_simulator_stops() {
    let world = world().await;
    for (action, done) in [(Action::Hang, 0), (Action::HangAfter, 1)] {
        world.simulator.faults().add(on_comments(action));
        assert!(tokio::time::timeout(HANG, comment(&world)).await.is_err());
        assert_eq!(comments(&world), done);
    }
    world.simulator.faults().add(on_comments(Action::Hang));
    let World { simulator, client } = world;
    let url = format!("{}/rest/api/3/{COMMENTS}", simulator.url());
    let hung = tokio::spawn(client.post(url).send());
    let arrived = async {
        while simulator.journal().entries().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    drop(simulator);
    assert!(hung.await.unwrap().is_err());
}

#[tokio::test]
async fn a_delay_comes_before_the_answer() {
    let world = world().await;
    world.simulator.faults().add(on_comments(Action::Delay(200)));
    let start = Instant::now();
    read(comment(&world).await.unwrap(), 201).await;
    assert!(start.elapsed().as_millis() >= 200);
}

#[tokio::test]
async fn a_truncated_body_breaks_off_after_so_many_bytes() {
    let world = world().await;
    world.simulator.faults().add(Fault::new("/myself$", Action::TruncateBody(10)).unwrap());
    let mut response = world.jira(Method::GET, "myself").send().await.unwrap();
    let mut got = Vec::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "the end looked whole");
    assert_eq!(got.len(), 10);
}

#[tokio::test]
async fn a_stream_is_truncated_too() {
    let world = world().await;
    super::models::answer(&world, Reply::text("word ".repeat(100)));
    world.simulator.faults().add(Fault::new("/v1/messages$", Action::TruncateBody(500)).unwrap());
    let mut response = world.anthropic(&super::models::ask(true)).send().await.unwrap();
    let mut got = 0;
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => got += chunk.len(),
            end => break end,
        }
    };
    assert!(end.is_err() && got == 500, "{got} bytes");
}

#[tokio::test]
async fn rate_limits_answer_as_documented_with_and_without_retry_after() {
    let world = world().await;
    let faults = world.simulator.faults();
    faults.add(on_comments(Action::Status(rate_limited(jira::BURST, Some(1)))));
    faults.add(on_comments(Action::Status(rate_limited(jira::PER_ISSUE_WRITES, None))));
    let first = comment(&world).await.unwrap();
    let header = |response: &Response, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!((first.status().as_u16(), header(&first, "retry-after").as_deref()), (429, Some("1")));
    assert_eq!(header(&first, "ratelimit-reason").as_deref(), Some("jira-burst-based"));
    assert!(
        Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\dZ$")
            .unwrap()
            .is_match(&header(&first, "x-ratelimit-reset").unwrap())
    );
    let second = comment(&world).await.unwrap();
    assert_eq!((second.status().as_u16(), header(&second, "retry-after")), (429, None));
    read(comment(&world).await.unwrap(), 201).await;
}

#[tokio::test]
async fn the_journal_has_every_request_and_no_credentials() {
    let world = world().await;
    read(comment(&world).await.unwrap(), 201).await;
    world.get("issue/PROJ-1?fields=summary").await;
    let journal = world.simulator.journal();
    let post = &journal.matching("POST", &Regex::new("/comment$").unwrap())[0];
    assert_eq!((post.service, post.status, post.body_bytes), (Service::Jira, Some(201), post.body.len()));
    assert!(post.body.contains("hello") && post.headers["authorization"].starts_with("Basic fingerprint:"));
    assert_eq!((journal.entries().len(), journal.writes(Service::Jira).len()), (2, 1));
    assert_eq!(journal.leaks(&["hello"]), ["request 1: POST to jira"]);
    assert!(journal.leaks(&[jira::Jira::TOKEN]).is_empty());
}

#[tokio::test]
async fn the_journal_keeps_credentials_when_asked_and_writes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.jsonl");
    let options = SimulatorOptions {
        keep_authorization: true,
        journal_file: Some(file.clone()),
        ..SimulatorOptions::default()
    };
    let world = World { simulator: Simulator::start(options).await.unwrap(), client: client() };
    world.get("myself").await;
    let kept = &world.simulator.journal().entries()[0].headers["authorization"];
    assert!(kept.starts_with("Basic ") && !kept.contains("fingerprint"), "{kept}");
    let lines = std::fs::read_to_string(file).unwrap();
    let entry: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&entry["path"], &entry["status"]), (&json!("/rest/api/3/myself"), &json!(200)));
}
