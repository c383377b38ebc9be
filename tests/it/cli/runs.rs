use futures_util::StreamExt as _;
use jira_agent::domain::{Order, TicketKey};
use jira_agent::queue::TaskQueue as _;
use jira_agent_simulator::github_glue::LOGIN;
use jira_agent_simulator::service::Service;
use serde_json::json;
use tokio::process::Command;

use super::{bare, nowhere, run};
use crate::broker::SOON;
use crate::world::{REPOSITORY, TICKET, World};

const PROGRAM: &str = "jira-agent-producer";

fn cancel(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command(PROGRAM);
    command
        .args(["runs", "cancel"])
        .args(arguments)
        .env("USER", "uma")
        .env("JIRA_AGENT__LOG__FILTER", "warn");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_task_ends_as_cancelled_and_a_later_one_runs() {
    let world = World::new().await;
    run(world.command(PROGRAM).args(["enqueue", TICKET])).await.ended(0);
    let said = run(&mut cancel(&world, &[TICKET, "--by", "riley"])).await.ended(0);
    assert_eq!(said.out, "asked to stop PROJ-1: written on the ticket, told to running workers\n");
    assert_eq!(said.err, "");
    assert_eq!(world.issue().properties["jira-agent-cancel"]["by"], "riley");
    assert_eq!(world.issue().properties.get("jira-agent"), None, "the memory is not touched");

    let ended = world.work_once().await;
    assert!(ended.log.contains("\"outcome\":\"cancelled\""), "{}", ended.log);
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains("The run was cancelled by riley."), "{comments:?}");
    assert_eq!(world.simulator.github().branches(REPOSITORY).into_keys().collect::<Vec<_>>(), ["main"]);
    assert_eq!(world.depths().await, []);
    assert_eq!(world.issue().properties["jira-agent-cancel"]["by"], "riley", "the marker left it alone");

    run(world.command(PROGRAM).args(["enqueue", TICKET])).await.ended(0);
    world.work_once().await;
    world.assert_published();
    world.assert_handed_over();
    world.assert_opened(&world.comments()[1]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_workers_are_told_who_asks_and_until_when() {
    let world = World::new().await;
    let mut orders = world.queue.orders().await.unwrap();
    run(&mut cancel(&world, &[TICKET])).await.ended(0);
    let order = tokio::time::timeout(SOON, orders.next()).await.expect("an order").unwrap();
    let Order::Cancel { ticket, by, at } = order;
    assert_eq!((ticket.to_string().as_str(), by.as_str()), (TICKET, "uma"));
    assert_eq!(world.issue().properties["jira-agent-cancel"], json!({"by": "uma", "at": at}));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_on_github_holds_the_request_in_one_comment() {
    let world = World::new().await;
    let number = world.add_github_issue("Cart charges one piece", "Three mugs, one price.");
    let (key, repo) = (number.to_string(), format!("{}/{REPOSITORY}", world.simulator.url()));
    let enqueue = ["enqueue", &key, "--repo", &repo];
    run(world.command(PROGRAM).args(enqueue)).await.ended(0);
    for by in ["ann", "riley"] {
        let said = run(&mut cancel(&world, &[&key, "--repo", &repo, "--by", by])).await.ended(0);
        assert!(said.out.starts_with(&format!("asked to stop {REPOSITORY}#{number}: ")), "{said:?}");
    }
    world.work_once().await;
    let comments = world.simulator.github().comments(REPOSITORY, number);
    let ours: Vec<&str> = comments
        .iter()
        .filter(|one| one.author.as_deref() == Some(LOGIN))
        .map(|one| one.body.as_str())
        .collect();
    assert_eq!(ours.len(), 3, "the request, the outcome and the memory: {ours:?}");
    assert!(ours[0].contains("`riley` asked jira-agent"), "{ours:?}");
    assert!(ours.iter().any(|body| body.contains("The run was cancelled by riley.")), "{ours:?}");
    assert!(world.pulls().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_done_is_said_and_is_no_success() {
    let world = World::new().await;
    let mut orders = world.queue.orders().await.unwrap();
    let said = run(&mut cancel(&world, &["PROJ-404", TICKET])).await.ended(1);
    assert_eq!(
        said.lines(),
        [
            "asked to stop PROJ-404: told to running workers only",
            "asked to stop PROJ-1: written on the ticket, told to running workers"
        ]
    );
    said.words(&["PROJ-404: not written on the ticket", "PROJ-404 is not in Jira"]);
    let Some(Order::Cancel { ticket, .. }) = orders.next().await else { panic!("an order") };
    assert_eq!(ticket, "PROJ-404".parse::<TicketKey>().unwrap());

    let away = format!("http://{}", nowhere());
    let said = run(cancel(&world, &[TICKET]).env("JIRA_URL", away)).await.ended(75);
    said.words(&["not written on the ticket, so tasks that wait will still run"]);

    let away = format!("amqp://ann:hunter22@{}/%2f", nowhere());
    let said = run(cancel(&world, &[TICKET]).env("AMQP_URL", away)).await.ended(69);
    assert!(!said.err.contains("hunter22"), "{said:?}");
    assert_eq!(said.lines(), ["asked to stop PROJ-1: written on the ticket only"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_no_ticket() {
    let world = World::new().await;
    world.publish(TICKET).await;
    world.work_once().await;
    let key = format!("{REPOSITORY}#{}", world.pulls()[0].issue.number);
    run(&mut cancel(&world, &[&key])).await.ended(1).words(&["is a pull request"]);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_account_of_the_tickets_is_needed() {
    let world = World::new().await;
    let mut command = cancel(&world, &[TICKET]);
    command.env_remove("GITHUB_TOKEN").env("GITHUB_TOKEN_FILE", "/no/such").env_remove("ANTHROPIC_API_KEY");
    run(&mut command).await.ended(0);
    run(cancel(&world, &[TICKET]).env_remove("JIRA_API_TOKEN"))
        .await
        .ended(78)
        .words(&["1 problem", "jira.token"]);
    let key = format!("{REPOSITORY}#1");
    run(cancel(&world, &[&key]).env_remove("GITHUB_TOKEN")).await.ended(78).words(&["github.token"]);
    run(&mut bare(PROGRAM, &["runs", "cancel", "proj-1"])).await.ended(65).words(&["did you mean PROJ-1?"]);
    assert_eq!(world.simulator.journal().writes(Service::Jira).len(), 1);
    world.finish().await;
}
