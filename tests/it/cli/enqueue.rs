use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Said, bare, feed, nowhere, output, run, signal};
use crate::broker::{Broker, SOON};
use crate::world::{REPOSITORY, TICKET, World};

const PROGRAM: &str = "jira-agent-producer";

/// `enqueue` with the broker's address and nothing else.
fn enqueue(broker: &Broker, arguments: &[&str]) -> Command {
    let mut command = bare(PROGRAM, &["enqueue"]);
    command.args(arguments).env("AMQP_URL", broker.url().as_str());
    command
}

async fn with_queues() -> Broker {
    let broker = Broker::shared().await;
    broker.queue().await;
    broker
}

/// The next task on the queue, and its message's id.
async fn next(broker: &Broker) -> (Value, String) {
    let message = broker.take("agent-tasks").await;
    let id = message.properties.message_id().clone().unwrap().to_string();
    (serde_json::from_slice(&message.data).unwrap(), id)
}

async fn count(broker: &Broker) -> u32 {
    broker.queue().await.depths().await.unwrap()["agent-tasks"]
}

#[tokio::test]
async fn the_address_of_the_broker_is_all_it_needs() {
    let broker = with_queues().await;
    let said = run(&mut enqueue(&broker, &["PROJ-7"])).await.ended(0);
    assert_eq!(said.err, "", "nothing to say");
    let (task, message_id) = next(&broker).await;
    assert_eq!(said.lines(), [format!("{message_id} PROJ-7")]);
    assert_eq!(task["task_id"], message_id.as_str());
    assert_eq!(
        (&task["issue_id"], &task["version"], &task["forced"]),
        (&json!("PROJ-7"), &json!(1), &json!(false))
    );
    assert_eq!(task["trigger"], json!({"kind": "cli"}));
    assert!(task["requested_at"].is_string());
    for field in ["repo_url", "base_branch", "mode", "trigger_user"] {
        assert_eq!(task[field], Value::Null, "{field} is left to the ticket and the routes");
    }
}

#[tokio::test]
async fn every_flag_reaches_the_task() {
    let broker = with_queues().await;
    let flags = [
        "--repo",
        "https://github.com/acme/shop",
        "--mode",
        "plan",
        "--base",
        "release/2",
        "--by",
        "ann",
        "--force",
    ];
    run(enqueue(&broker, &["12"]).args(flags)).await.ended(0);
    let (task, _) = next(&broker).await;
    let expected = json!({
        "issue_id": 12, "repo_url": "https://github.com/acme/shop", "mode": "plan", "base_branch": "release/2",
        "trigger_user": "ann", "forced": true,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&task[field], value, "{field}");
    }
}

#[tokio::test]
async fn many_tickets_from_everywhere_keep_their_order() {
    let broker = with_queues().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tickets");
    std::fs::write(&file, "# this week\n\nPROJ-3\n  {\"issue_id\": \"PROJ-4\", \"mode\": \"plan\"}\r\n")
        .unwrap();
    let by_file = run(&mut enqueue(&broker, &["PROJ-1", "acme/shop#2", "--file", file.to_str().unwrap()]))
        .await
        .ended(0);
    let keys: Vec<&str> = by_file.lines().iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(keys, ["PROJ-1", "acme/shop#2", "PROJ-3", "PROJ-4"]);
    let by_input = feed(&mut enqueue(&broker, &["--file", "-", "--json"]), "PROJ-5\nPROJ-6\n").await.ended(0);
    let tasks = by_input.json()["tasks"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 2);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(next(&broker).await);
    }
    let issues: Vec<&str> = seen.iter().map(|(task, _)| task["issue_id"].as_str().unwrap()).collect();
    assert_eq!(issues, ["PROJ-1", "acme/shop#2", "PROJ-3", "PROJ-4", "PROJ-5", "PROJ-6"]);
    assert_eq!(seen[3].0["mode"], "plan");
    assert_eq!(tasks[1], json!({"issue_id": "PROJ-6", "task_id": seen[5].1}));
}

#[tokio::test]
async fn one_bad_ticket_is_enough_to_enqueue_nothing_and_all_are_named() {
    let broker = with_queues().await;
    let bad = ["PROJ-1", "proj-2", "12", "acme/shop#0", "https://acme.atlassian.net/browse/PROJ-3"];
    let said = feed(enqueue(&broker, &bad).args(["--file", "-"]), "PROJ-4\n{\"issue_id\": 5}\n").await;
    let said = said.ended(65).words(&[
        "nothing was enqueued",
        "`proj-2` is not a ticket key",
        "did you mean PROJ-2?",
        "12 is an issue of which repository? Add --repo URL",
        "`acme/shop#0` is not a ticket key",
        "did you mean PROJ-3?",
        "standard input, line 2: field `repo_url`",
    ]);
    assert_eq!(said.out, "");
    assert_eq!(count(&broker).await, 0);
}

#[tokio::test]
async fn no_ticket_at_all_is_refused() {
    run(&mut bare(PROGRAM, &["enqueue"])).await.ended(2).words(&["<KEY>"]);
    let empty = feed(&mut bare(PROGRAM, &["enqueue", "--file", "-"]), "\n# none\n").await;
    empty.ended(65).words(&["standard input names no ticket"]);
    run(&mut bare(PROGRAM, &["enqueue", "--file", "/no/such"]))
        .await
        .ended(65)
        .words(&["/no/such cannot be read"]);
    run(&mut bare(PROGRAM, &["enqueue", "PROJ-1", "--timeout", "5m"])).await.ended(2).words(&["--wait"]);
    run(&mut bare(PROGRAM, &["enqueue", "PROJ-1", "--wait", "--timeout", "5"]))
        .await
        .ended(2)
        .words(&["30s, 25m"]);
}

#[tokio::test]
async fn a_broker_that_is_away_is_named_at_once_and_without_its_password() {
    let address = nowhere();
    for more in [vec![], vec!["--wait"], vec!["--json"]] {
        let started = Instant::now();
        let mut command = bare(PROGRAM, &["enqueue", TICKET]);
        let said =
            run(command.args(more).env("AMQP_URL", format!("amqp://ann:hunter22@{address}/%2f"))).await;
        let said = said.ended(69).words(&[&address, "queue.url"]);
        assert!(started.elapsed() < Duration::from_secs(5), "{said:?}");
        assert_eq!(said.out, "", "nothing half-said");
        assert!(!said.err.contains("hunter22"), "{said:?}");
    }
}

#[tokio::test]
async fn a_broker_that_never_answers_is_given_up() {
    // The kernel accepts; nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let started = Instant::now();
    let mut command = bare(PROGRAM, &["enqueue", TICKET]);
    command.env("AMQP_URL", format!("amqp://{address}")).env("JIRA_AGENT__QUEUE__TIMEOUT", "1s");
    run(&mut command).await.ended(69).words(&[&address]);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn missing_queues_are_told_with_what_creates_them() {
    let broker = Broker::shared().await;
    for more in [vec![], vec!["--wait"]] {
        let said = run(enqueue(&broker, &[TICKET]).args(more)).await.ended(78);
        assert_eq!(said.out, "");
        said.words(&["jira-agent-producer topology apply"]);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_user_and_without_the_password() {
    let broker = Broker::shared().await;
    let user = broker.add_user("right-password").await;
    let mut url = broker.url();
    url.set_username(&user).unwrap();
    url.set_password(Some("wrong-password")).unwrap();
    let said = run(enqueue(&broker, &[TICKET]).env("AMQP_URL", url.as_str())).await.ended(78).words(&[&user]);
    assert!(!said.err.contains("wrong-password") && said.out.is_empty(), "{said:?}");
}

#[tokio::test]
async fn a_full_queue_is_told_with_what_is_on_it_and_what_is_not() {
    let broker = with_queues().await;
    broker.set_policy("^agent-tasks$", json!({"max-length": 1})).await;
    let keys: Vec<String> = (1..=200).map(|number| format!("PROJ-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let said =
        run(enqueue(&broker, &keys).arg("--json")).await.ended(75).words(&["not enqueued: PROJ-", "full"]);
    let done = said.json()["tasks"].as_array().unwrap().len();
    let first_left = format!("not enqueued: PROJ-{}, ", done + 1);
    assert!(done > 0 && said.err.contains(&first_left), "{said:?}");
    assert_eq!(count(&broker).await, u32::try_from(done).unwrap());
}

#[tokio::test]
async fn settings_that_do_not_do_are_all_named_with_their_remedies() {
    let mut command = bare(PROGRAM, &["enqueue", TICKET]);
    command.env("JIRA_AGENT__QUEUE__TIMEOT", "3s").env("JIRA_AGENT__LOG__FORMAT", "loud");
    run(&mut command).await.ended(78).words(&[
        "2 problems",
        "did you mean `JIRA_AGENT__QUEUE__TIMEOUT`?",
        "`loud` is not one of auto, json, human",
    ]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jira-agent.toml"), "[queue]\nurll = \"amqp://h\"\n").unwrap();
    let mut command = bare(PROGRAM, &["enqueue", TICKET]);
    run(command.current_dir(dir.path())).await.ended(78).words(&[
        "queue.urll",
        "jira-agent.toml",
        "`queue.url`",
    ]);
    let mut command = bare(PROGRAM, &["enqueue", TICKET, "--config", "/no/such.toml"]);
    run(&mut command).await.ended(78).words(&["/no/such.toml"]);
    let mut command = bare(PROGRAM, &["enqueue", TICKET]);
    let said = run(command.env("AMQP_URL", "ann:hunter22@localhost:5672")).await.ended(78);
    assert!(!said.err.contains("hunter22"), "{said:?}");
    said.words(&["queue.url", "AMQP_URL", "amqp://user:password@host"]);
}

#[tokio::test]
async fn the_address_can_come_from_a_file() {
    let broker = with_queues().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("amqp-url");
    std::fs::write(&file, format!("{}\n", broker.url())).unwrap();
    run(bare(PROGRAM, &["enqueue", TICKET]).env("AMQP_URL_FILE", &file)).await.ended(0);
    assert_eq!(next(&broker).await.0["issue_id"], TICKET);
    let missing = dir.path().join("none");
    let said = run(bare(PROGRAM, &["enqueue", TICKET]).env("AMQP_URL_FILE", &missing)).await.ended(78);
    said.words(&["AMQP_URL_FILE", missing.to_str().unwrap()]);
}

/// Enqueues and waits while a worker works.
async fn wait_with_worker(world: &World, arguments: &[&str]) -> Said {
    let (mut worker, _) = world.start(&["run", "--idle-exit", "60s"], &[]);
    let said =
        run(world.command(PROGRAM).args(["enqueue", "--wait", "--timeout", "50s"]).args(arguments)).await;
    // The last event comes before the acknowledgement, which the worker finishes.
    signal(&worker, "TERM");
    tokio::time::timeout(SOON, worker.wait()).await.expect("the worker ends").unwrap();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_follows_a_run_to_its_pull_request() {
    let world = World::new().await;
    let said = wait_with_worker(&world, &[TICKET]).await.ended(0);
    assert_eq!(said.lines().len(), 1, "the id: {said:?}");
    said.words(&["PROJ-1 queued", "PROJ-1 claimed", "PROJ-1 pushed", "PROJ-1 succeeded: http"]);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_in_json_prints_one_event_a_line() {
    let world = World::new().await;
    let said = wait_with_worker(&world, &["--json", TICKET]).await.ended(0);
    let events: Vec<Value> = said.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("queued", "succeeded"), "{kinds:?}");
    assert!(kinds.contains(&"pull_request_opened"), "{kinds:?}");
    assert!(events.iter().all(|event| event["run"] == events[0]["run"] && event["ticket"] == TICKET));
    assert_eq!(said.err, "", "words would only repeat the data");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_run_that_fails_ends_with_1_and_the_reason() {
    let world = World::new().await;
    let said = wait_with_worker(&world, &[TICKET, "PROJ-99"]).await.ended(1);
    said.words(&["PROJ-99 failed: ", "not in Jira", "PROJ-1 succeeded"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_75_when_its_time_is_over_and_the_task_stays() {
    let broker = with_queues().await;
    let repo = format!("https://github.com/{REPOSITORY}");
    let flags = ["3", "--repo", &repo, "--wait", "--timeout", "1s"];
    let said =
        run(&mut enqueue(&broker, &flags)).await.ended(75).words(&["--timeout is over", "acme/shop#3"]);
    assert_eq!(said.lines().len(), 1);
    assert_eq!(count(&broker).await, 1);
}

#[tokio::test]
async fn waiting_ends_when_the_broker_goes_away() {
    let broker = with_queues().await;
    let mut command = enqueue(&broker, &[TICKET, "--wait"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Once the id is printed it waits.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let id = tokio::time::timeout(SOON, lines.next_line()).await.expect("an id").unwrap();
    assert!(id.is_some_and(|line| line.ends_with(TICKET)));
    broker.close_connections("following").await;
    output(child).await.ended(69).words(&["the connection broke while waiting; the runs go on"]);
}
