use jira_agent::queue::{LeaseKey, LeaseOutcome, TaskQueue as _};
use serde_json::json;
use tokio::process::Command;

use super::{in_repository, nowhere, run};
use crate::world::{BRANCH, REPOSITORY, TICKET, World};

const PROGRAM: &str = "jira-agent-worker";

fn ticket(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(PROGRAM);
    command.arg("ticket").args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_becomes_a_pull_request_without_a_task() {
    let world = World::new().await;
    let said = run(&mut ticket(&world, &[TICKET])).await.ended(0);
    let url = format!("{}/{REPOSITORY}/pull/1", world.simulator.url());
    assert_eq!(said.lines(), [format!("pull_request_opened {url}")]);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_no_broker_is_needed_and_the_same_id_is_the_same_run() {
    let world = World::new().await;
    let id = "01K9ZW4R7M1S8T3V5X7Z9B1D3F";
    let without = || {
        let mut command = ticket(&world, &[TICKET, "--no-lease", "--json", "--task-id", id]);
        command.env("AMQP_URL", format!("amqp://{}", nowhere()));
        command
    };
    let said = run(&mut without()).await.ended(0).words(&["without a queue there is no lease"]);
    let url = format!("{}/{REPOSITORY}/pull/1", world.simulator.url());
    assert_eq!(
        said.json(),
        json!({"outcome": "pull_request_opened", "url": url, "number": 1, "branch": BRANCH})
    );
    let again = run(&mut without()).await.ended(0).words(&["has ended before"]);
    assert_eq!(again.json(), json!({"outcome": "already_ended"}));
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_another_worker_has_is_for_later() {
    let world = World::new().await;
    let key = LeaseKey { repository: REPOSITORY.parse().unwrap(), branch: BRANCH.parse().unwrap() };
    let LeaseOutcome::Granted(lease) = world.queue.lease(&key).await.unwrap() else {
        panic!("nobody has it")
    };
    let said = run(&mut ticket(&world, &[TICKET, "--json"])).await.ended(75).words(&["another worker"]);
    assert_eq!(said.json(), json!({"outcome": "busy"}));
    lease.release().await;
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_has_its_exit_code() {
    let world = World::new().await;
    let none =
        run(&mut ticket(&world, &["PROJ-99", "--json"])).await.ended(1).words(&["PROJ-99 is not in Jira"]);
    assert_eq!(none.json()["outcome"], "failed");
    run(&mut ticket(&world, &[TICKET, "--mode", "execute"])).await.ended(1).words(&["use quickfix or plan"]);
    let other = ["1", "https://github.com/acme/other"].map(|part| part.to_owned());
    run(ticket(&world, &[TICKET, "--repo"]).arg(&other[1]))
        .await
        .ended(1)
        .words(&["not among the configured routes"]);
    run(&mut ticket(&world, &["proj-1"])).await.ended(65).words(&["`proj-1` is not a ticket key"]);
    let bad =
        run(&mut ticket(&world, &[TICKET, "--repo", "https://u:hunter22@github.com/a/b"])).await.ended(65);
    assert!(!bad.words(&["--repo: "]).err.contains("hunter22"));
    run(ticket(&world, &[TICKET]).env("JIRA_URL", format!("http://{}", nowhere())))
        .await
        .ended(75)
        .words(&["Jira"]);
    run(ticket(&world, &[TICKET]).env("AMQP_URL", format!("amqp://{}", nowhere())))
        .await
        .ended(69)
        .words(&["queue.url"]);
    let unset = run(ticket(&world, &[TICKET]).env_remove("GITHUB_TOKEN").env_remove("JIRA_API_TOKEN")).await;
    unset.ended(78).words(&["2 problems", "github.token", "jira.token", "set JIRA_TOKEN"]);
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_asks_for_a_person_ends_with_1_and_the_question() {
    use jira_agent_simulator::models::{Reply, Rule};

    let world = World::speechless().await;
    world.answer(Rule::new("Cart", Reply::text("NEEDS_HUMAN: Which currency?")).unwrap());
    let said = run(&mut ticket(&world, &[TICKET, "--json"])).await.ended(1);
    assert_eq!(said.json()["outcome"], "needs_human", "{said:?}");
    world.finish().await;
}

/// The TOML block and the variables of the README's "Use it".
fn minimum() -> (String, Vec<&'static str>) {
    let readme = std::fs::read_to_string(in_repository("README.md")).unwrap();
    let (_, use_it) = readme.split_once("## Use it").unwrap();
    let (_, block) = use_it.split_once("```toml\n").unwrap();
    let (block, rest) = block.split_once("```").unwrap();
    let secrets = ["JIRA_EMAIL", "JIRA_API_TOKEN", "GITHUB_TOKEN", "ANTHROPIC_API_KEY", "AMQP_URL"];
    for secret in secrets {
        assert!(rest.contains(&format!("`{secret}`")), "the README does not name {secret}");
    }
    (block.lines().map(str::trim).collect::<Vec<_>>().join("\n"), secrets.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minimum_of_the_readme_is_enough() {
    let world = World::new().await;
    let (settings, secrets) = minimum();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jira-agent.toml"), settings).unwrap();
    let worker = || {
        let mut command = world.command(PROGRAM);
        command.env_remove("JIRA_AGENT_CONFIG").env("JIRA_EMAIL", "agent@example.com");
        command.args(["run", "--idle-exit", "100ms"]).current_dir(dir.path());
        command
    };
    run(&mut worker()).await.ended(0).words(&["\"message\":\"consuming\""]);
    for secret in secrets.into_iter().filter(|secret| *secret != "AMQP_URL") {
        run(worker().env_remove(secret)).await.ended(78).words(&["1 problem"]);
    }
    std::fs::remove_file(dir.path().join("jira-agent.toml")).unwrap();
    run(&mut worker()).await.ended(78).words(&["routes (default)", "jira.url (default)"]);
    world.finish().await;
}

#[tokio::test]
async fn an_idle_worker_whose_broker_is_away_gives_up() {
    let world = World::new().await;
    let mut worker = world.command(PROGRAM);
    worker
        .args(["run", "--idle-exit", "500ms"])
        .env("AMQP_URL", format!("amqp://ann:hunter22@{}", nowhere()));
    let said = run(&mut worker).await.ended(69).words(&["unreachable"]);
    assert!(!said.err.contains("hunter22"));
    world.finish().await;
}
