//! A bare key on the list becomes a pull request.

use super::server::Server;
use crate::broker::wait_for;
use crate::world::{TICKET, World};

#[tokio::test]
async fn a_key_that_is_pushed_by_hand_becomes_a_pull_request() {
    let server = Server::shared().await;
    let world = World::new().await;
    world.keep_secret(server.url().password().unwrap());
    let url = server.url();
    let environment = [("JIRA_AGENT__QUEUE__KIND", "redis"), ("JIRA_AGENT__QUEUE__URL", url.as_str())];
    let (mut worker, log) = world.start(&["run", "--once", "--idle-exit", "60s"], &environment);
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("a worker that consumes", async || log().contains("consuming").then_some(())).await;
    server.push(TICKET).await;
    let status = worker.wait().await.unwrap();
    assert!(status.success(), "{}", log());
    world.assert_fixed().await;
    assert_eq!(server.keys().await, ["jira_ticket_queue:events"]);
}

#[tokio::test]
async fn doctor_says_what_it_finds_at_the_address_of_the_usual_variables() {
    let server = Server::shared().await;
    let world = World::new().await;
    let url = server.url();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap().to_string());
    let mut doctor = world.command("jira-agent-worker");
    doctor.arg("doctor").env_remove("AMQP_URL").env("REDIS_HOST", host).env("REDIS_PORT", port);
    doctor.env("REDIS_USERNAME", url.username());
    let password = url.password().unwrap();
    let output = doctor.env("REDIS_PASSWORD", password).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("answers, and the user may do what a worker does"), "{text}");
    assert!(text.contains("jira_ticket_queue: 0 ready, 0 with workers"), "{text}");
    let output = doctor.env("REDIS_PASSWORD", "hunter2").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("wrong user or password") && !text.contains("hunter2"), "{text}");
    assert!(!output.status.success());
}
