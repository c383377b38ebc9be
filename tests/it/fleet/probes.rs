//! What a worker tells probes and Prometheus, and what its log tells about one run.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::broker::wait_for;
use crate::world::{TICKET, World};

/// The address in the log line that says where probes are served.
pub async fn address(log: &std::path::Path) -> String {
    wait_for("the address of the probes", async || {
        let log = std::fs::read_to_string(log).unwrap();
        let line = log.lines().find(|line| line.contains("probes and metrics are served"))?;
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line["fields"]["address"].as_str().or(line["address"].as_str()).unwrap().to_owned())
    })
    .await
}

pub async fn ask(address: &str, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_counts_its_run_and_is_ready_while_it_consumes() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let (mut worker, log) = world.start(&["run"], &[("JIRA_AGENT__WORKER__LISTEN", "127.0.0.1:0")]);
    let address = address(&log).await;
    wait_for("readiness", async || (ask(&address, "/readyz").await.0 == 200).then_some(())).await;
    let metrics = wait_for("the end of the run", async || {
        let text = ask(&address, "/metrics").await.1;
        text.contains(r#"jira_agent_runs_total{outcome="pull_request_opened"} 1"#).then_some(text)
    })
    .await;
    for step in ["claim", "workspace", "context", "edit", "check", "publish", "report"] {
        let counted = format!("jira_agent_step_duration_seconds_count{{step=\"{step}\"}} ");
        assert!(metrics.contains(&counted), "{step}: {metrics}");
    }
    assert!(metrics.contains("jira_agent_queue_wait_seconds_count 1"), "{metrics}");
    assert!(
        metrics.contains(r#"jira_agent_model_tokens_total{model="scripted",kind="output"}"#),
        "{metrics}"
    );
    assert!(metrics.contains("jira_agent_worker_busy 0"), "{metrics}");
    assert_eq!(ask(&address, "/healthz").await.0, 200);
    kill_process(Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert_story(&log);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_task_is_counted_among_the_dead_letters() {
    let world = World::new().await;
    world.publish("mend the cart, please").await;
    let (mut worker, log) = world.start(&["run"], &[("JIRA_AGENT__WORKER__LISTEN", "127.0.0.1:0")]);
    let address = address(&log).await;
    let counted = r#"jira_agent_dead_letters_total{step="none"} 1"#;
    wait_for(counted, async || ask(&address, "/metrics").await.1.contains(counted).then_some(())).await;
    world.broker.wait_for_depth(&world.queue, "agent-tasks.dlq", 1).await;
    let metrics = ask(&address, "/metrics").await.1;
    assert!(metrics.contains("jira_agent_queue_wait_seconds_count 0"), "{metrics}");
    worker.start_kill().unwrap();
    tokio::time::timeout(Duration::from_secs(10), worker.wait()).await.unwrap().unwrap();
    world.finish().await;
}

/// The lines with the run's id tell the run from its claim to its end, in order.
fn assert_story(log: &str) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"run.id\"")).collect();
    let mut rest = lines.as_slice();
    for words in ["claimed", "cloned", "edited", "checked", "pushed", "reported", "the run ended"] {
        let at = rest.iter().position(|line| line.contains(&format!("\"{words}\"")));
        let at = at.unwrap_or_else(|| panic!("`{words}` is missing or out of order:\n{}", lines.join("\n")));
        rest = &rest[at + 1..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_broker_is_alive_but_not_ready() {
    let world = World::new().await;
    let nobody = ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f");
    let (mut worker, log) = world.start(&["run"], &[nobody, ("JIRA_AGENT__WORKER__LISTEN", "127.0.0.1:0")]);
    let address = address(&log).await;
    assert_eq!(ask(&address, "/healthz").await.0, 200);
    let (status, why) = ask(&address, "/readyz").await;
    assert_eq!((status, why.as_str()), (503, "there is no connection to the queue\n"));
    worker.start_kill().unwrap();
    tokio::time::timeout(Duration::from_secs(10), worker.wait()).await.unwrap().unwrap();
    world.finish().await;
}
