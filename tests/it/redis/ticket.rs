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
    let left: Vec<String> = server.ask(&["KEYS", "*"]).await;
    assert_eq!(left, ["jira_ticket_queue:events"]);
}
