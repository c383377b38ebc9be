use std::collections::BTreeMap;
use std::time::Duration;

use jira_agent::domain::{Mode, Task};
use jira_agent::queue::{Death, TaskQueue as _};
use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::{Failure, Reply, Rule};
use jira_agent_worker::consumer::too_long;
use jira_agent_worker::failure::InStep;
use jira_agent_worker::git::GitError;
use jira_agent_worker::model::ModelError;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{bare, feed, nowhere, run};
use crate::broker::{Broker, SOON};
use crate::world::{NEEDED, REPLY, TICKET, World};

const PROGRAM: &str = "jira-agent-producer";
const DEAD: &str = "agent-tasks.dlq";

fn dead_letters(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(PROGRAM);
    command.arg("dead-letters").args(arguments).env("USER", "uma").env("JIRA_AGENT__LOG__FILTER", "warn");
    command
}

async fn listed(world: &World) -> Vec<Value> {
    let said = run(&mut dead_letters(world, &["list", "--json"])).await.ended(0);
    said.json()["dead_letters"].as_array().unwrap().clone()
}

/// A world in which the model has refused the key of the ticket's run, which is a dead letter now; and its id.
async fn with_a_failed_run() -> (World, String) {
    let world = World::speechless().await;
    let refused = Reply::failing("", Failure::Status { code: 401, retry_after: None });
    world.answer(Rule::new(NEEDED, refused).unwrap().times(1));
    world.answer(Rule::new(NEEDED, Reply::text(REPLY)).unwrap());
    run(world.command(PROGRAM).args(["enqueue", TICKET])).await.ended(0);
    world.work_once().await;
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let id = listed(&world).await[0]["id"].as_str().unwrap().to_owned();
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_listed_explained_replayed_and_ends_well() {
    let (world, id) = with_a_failed_run().await;
    let comments = world.comments();
    assert!(
        comments.len() == 1 && comments[0].starts_with("I could not work on this ticket"),
        "{comments:?}"
    );

    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let table = run(&mut dead_letters(&world, &["list"])).await.ended(0);
    let lines = table.lines();
    assert_eq!(lines.len(), 2, "{table:?}");
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("REASON"), "{table:?}");
    assert!(
        lines[1].starts_with(&format!("{id}  PROJ-1  ")) && lines[1].contains("refuses access"),
        "{table:?}"
    );

    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let shown = run(&mut dead_letters(&world, &["show", &id[..20]])).await.ended(0);
    let link = format!("{}/browse/{TICKET}", world.simulator.url());
    for part in [&id, &link, "refuses access", "model.api_key", "nobody yet", "dead-letters replay"] {
        assert!(shown.out.contains(part), "{part} is missing in {shown:?}");
    }

    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let replayed = run(&mut dead_letters(&world, &["replay", &id])).await.ended(0);
    assert_eq!((replayed.out, replayed.err), (format!("{id} {TICKET}\n"), String::new()));
    let ended = world.work_once().await;
    assert!(ended.log.contains(&id), "the same run");
    world.assert_published();
    world.assert_handed_over();
    assert_eq!(world.depths().await, []);
    let comments = world.comments();
    assert_eq!(comments.len(), 2, "one of each kind: {comments:?}");
    assert!(
        comments[0].starts_with("An earlier attempt at this failed. It was started again"),
        "{comments:?}"
    );
    world.assert_opened(&comments[1]);
    let events = world.broker.drain("agent-events").await;
    let queued = |event: &&String| event.contains("\"queued\"") && event.contains("\"replayed_by\":\"uma\"");
    assert_eq!(events.iter().filter(queued).count(), 1, "{events:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_run_that_fails_again_is_a_dead_letter_that_says_who_replayed_it() {
    let (world, id) = with_a_failed_run().await;
    let jira = world.simulator.jira();
    run(&mut dead_letters(&world, &["replay", "--all", "--by", "ann"])).await.ended(0);
    world.work(&["run", "--once", "--idle-exit", "20s"], &[("GITHUB_TOKEN", "wrong-token")]).await;
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let again = &listed(&world).await[0];
    assert_eq!((again["id"].as_str(), again["replayed_by"].as_str()), (Some(id.as_str()), Some("ann")));
    assert_eq!((&again["attempts"], &again["cause"]), (&json!(1), &json!("credentials")), "{again}");
    let comments = jira.issue(TICKET).unwrap().comments_by(Jira::AGENT).len();
    assert_eq!(comments, 1, "the failure is told once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_when_one_id_is_unknown() {
    let (world, id) = with_a_failed_run().await;
    for verb in ["replay", "drop"] {
        world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
        let mut command = dead_letters(&world, &[verb, &id, "01NOSUCHLETTER", "abc"]);
        if verb == "drop" {
            command.arg("--yes");
        }
        let said = run(&mut command).await.ended(1);
        assert_eq!(said.out, "");
        said.words(&["there is no dead letter `01NOSUCHLETTER`", "`abc` is too short", "nothing was done"]);
    }
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    run(&mut dead_letters(&world, &["show", "01NOSUCHLETTER"])).await.ended(1).words(&["dead-letters list"]);
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_task_is_shown_as_it_came_and_thrown_away_only_when_that_is_meant() {
    let world = World::new().await;
    world.publish("mend the cart, please").await;
    world.work_once().await;
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let letter = &listed(&world).await[0];
    assert_eq!((&letter["body"], &letter["cause"]), (&json!("mend the cart, please"), &json!("unreadable")));
    let id = letter["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("sha256-"), "{id}");

    // There is no terminal to ask on, whatever is on standard input.
    let said = feed(&mut dead_letters(&world, &["drop", &id]), "y\n").await.ended(2).words(&["add --yes"]);
    assert_eq!(said.out, "");
    world.broker.wait_for_depth(&world.queue, DEAD, 1).await;
    let said = run(&mut dead_letters(&world, &["drop", &id, "--yes"])).await.ended(0);
    assert_eq!(said.out, format!("{id} -\n"));
    said.words(&["thrown away for good: the body is neither a JSON object nor a bare ticket key"]);
    run(&mut dead_letters(&world, &["list"])).await.ended(0).words(&["there are no dead letters"]);
    run(&mut dead_letters(&world, &["drop", "--all", "--yes"]))
        .await
        .ended(0)
        .words(&["there are no dead letters"]);
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

/// Reasons as workers write them, and the causes that they are to be known by.
fn reasons_of_workers() -> Vec<(String, &'static str)> {
    let (host, detail, name) = ("h".to_owned(), "no".to_owned(), "big".to_owned());
    let failed = |step: &'static str, error: anyhow::Error| format!("{:#}", error.context(InStep(step)));
    let git = |error: GitError| failed("workspace", error.into());
    let model = |error: ModelError| failed("edit", error.into());
    vec![
        (
            git(GitError::Unauthorized { host: host.clone(), status: 401, detail: detail.clone() }),
            "credentials",
        ),
        (git(GitError::NotFound { url: "https://github.com/acme/shop".to_owned() }), "not_found"),
        (
            model(ModelError::Unauthorized { host: host.clone(), status: 401, detail: detail.clone() }),
            "credentials",
        ),
        (model(ModelError::Billing { host: host.clone(), detail: detail.clone() }), "model"),
        (model(ModelError::ModelNotFound { host, name, detail }), "model"),
        (format!("{:#}", too_long(Duration::from_secs(1), Some("edit"))), "other"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_say_leads_to_its_cause() {
    let world = World::new().await;
    let mut expected = BTreeMap::new();
    let mut consumer = world.queue.consume().await.unwrap();
    for (reason, cause) in reasons_of_workers() {
        let task = Task::new(TICKET.parse().unwrap());
        world.queue.publish(&task).await.unwrap();
        let delivery = tokio::time::timeout(SOON, consumer.next()).await.unwrap().unwrap();
        delivery.dead_letter(&Death::new(reason)).await.unwrap();
        expected.insert(task.id.to_string(), cause);
    }
    drop(consumer);
    let elsewhere = Some("https://github.com/acme/secrets".parse().unwrap());
    let not_routed = Task { repository: elsewhere, ..Task::new(TICKET.parse().unwrap()) };
    let not_supported = Task { mode: Some(Mode::Revise), ..Task::new(TICKET.parse().unwrap()) };
    for (task, cause) in [(not_routed, "not_routed"), (not_supported, "not_supported")] {
        world.queue.publish(&task).await.unwrap();
        expected.insert(task.id.to_string(), cause);
    }
    world.work_off().await;
    world.broker.wait_for_depth(&world.queue, DEAD, expected.len().try_into().unwrap()).await;
    let letters = listed(&world).await;
    let causes = letters.iter().map(|letter| {
        let text = |name: &str| letter[name].as_str().unwrap();
        (text("id").to_owned(), text("cause"))
    });
    assert_eq!(causes.collect::<BTreeMap<_, _>>(), expected, "{letters:#?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_says_that_there_is_more() {
    let world = World::new().await;
    for number in 0..3 {
        world.publish(&format!("no task {number}")).await;
    }
    world.work_off().await;
    world.broker.wait_for_depth(&world.queue, DEAD, 3).await;
    let said = run(&mut dead_letters(&world, &["list", "--limit", "2"])).await.ended(0);
    assert_eq!(said.lines().len(), 3, "{said:?}");
    said.words(&["there are more than 2; --limit shows them"]);
    world.broker.wait_for_depth(&world.queue, DEAD, 3).await;
    let said = run(&mut dead_letters(&world, &["list", "--limit", "3", "--json"])).await.ended(0);
    assert_eq!(said.json()["more"], false);
    assert_eq!(said.json()["dead_letters"].as_array().unwrap().len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn the_address_of_the_broker_is_all_that_is_needed() {
    let broker = Broker::shared().await;
    let mut command = bare(PROGRAM, &["dead-letters", "list"]);
    command
        .env("AMQP_URL", broker.url().as_str())
        .env("JIRA_TOKEN_FILE", "/no/such")
        .env("GITHUB_TOKEN_FILE", "/no");
    run(&mut command).await.ended(78).words(&["agent-tasks.dlq", "topology apply"]);
    broker.queue().await;
    run(&mut command).await.ended(0).words(&["there are no dead letters"]);
    let address = nowhere();
    let said = run(command.env("AMQP_URL", format!("amqp://ann:hunter22@{address}"))).await.ended(69);
    assert!(!said.words(&[&address]).err.contains("hunter22"));
    run(&mut bare(PROGRAM, &["dead-letters", "replay"])).await.ended(2).words(&["--all"]);
    run(&mut bare(PROGRAM, &["dead-letters", "drop", "--all", "01K9ZW"])).await.ended(2).words(&["--all"]);
    run(&mut bare(PROGRAM, &["dead-letters", "list", "--limit", "0"])).await.ended(2).words(&["--limit"]);
}
