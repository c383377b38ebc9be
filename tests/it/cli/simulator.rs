use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{bare, in_repository, output, read, run, signal};
use crate::broker::{Broker, SOON};
use crate::world::binary;

const PROGRAM: &str = "jira-agent-simulator";

/// The simulator with the example scenario, and what it prints for a shell.
async fn example() -> (Child, String) {
    let scenario = in_repository("tests/simulator/scenario.example.toml");
    let mut command = bare(PROGRAM, &["--scenario"]);
    let mut simulator = command.arg(scenario).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(simulator.stdout.take().unwrap()).lines();
    let mut settings = String::new();
    while !settings.contains("OLLAMA_HOST") {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap();
        settings.push_str(&line.expect("it goes on"));
        settings.push('\n');
    }
    (simulator, settings)
}

/// A program of ours in a shell that has read the simulator's settings.
fn in_shell(settings: &str, broker: &Broker, program: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    shell.args(["-c", "eval \"$SETTINGS\"; exec \"$0\" \"$@\""]).arg(binary(program)).args(arguments);
    shell
        .env("SETTINGS", settings)
        .env("AMQP_URL", broker.url().as_str())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    shell
}

#[tokio::test]
async fn what_it_prints_is_all_that_a_worker_needs_for_pull_requests() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (simulator, settings) = example().await;
    let doctor = run(&mut in_shell(&settings, &broker, "jira-agent-worker", &["doctor"])).await.ended(0);
    assert!(doctor.lines().iter().all(|line| line.starts_with("fine")), "{}", doctor.out);
    run(&mut in_shell(&settings, &broker, "jira-agent-producer", &["enqueue", "PROJ-123"])).await.ended(0);
    broker.publish("PROJ-124", lapin::BasicProperties::default()).await;
    for _ in 0..2 {
        let once = ["run", "--once", "--idle-exit", "20s"];
        run(&mut in_shell(&settings, &broker, "jira-agent-worker", &once)).await.ended(0);
    }
    run(&mut in_shell(&settings, &broker, "jira-agent-worker", &["ticket", "acme/shop#7"])).await.ended(0);
    let url = settings.lines().find_map(|line| line.strip_prefix("export JIRA_URL=")).unwrap();
    let state: Value = serde_json::from_str(&read(&format!("{url}/_state")).await).unwrap();
    let github = state["github"].to_string();
    for branch in ["ai/PROJ-123", "ai/PROJ-124", "ai-agent/issue-7"] {
        assert!(github.contains(branch), "{branch}: {github}");
    }
    let depths = queue.depths().await.unwrap();
    assert!(depths.iter().all(|(name, count)| *count == 0 || name == "agent-events"), "{depths:?}");
    signal(&simulator, "TERM");
    output(simulator).await.ended(0);
}

#[tokio::test]
async fn a_scenario_that_is_not_right_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scenario.toml");
    std::fs::write(&file, "[jira]\ntokn = \"x\"\n").unwrap();
    let said = run(bare(PROGRAM, &["--scenario"]).arg(&file)).await.ended(65);
    assert_eq!(said.out, "", "no settings of what does not run");
    said.words(&["scenario.toml", "line 2", "tokn"]);
    run(&mut bare(PROGRAM, &["--scenario", "/no/such.toml"])).await.ended(65).words(&["/no/such.toml"]);
}
