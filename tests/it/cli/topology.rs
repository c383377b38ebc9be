use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::process::Command;

use super::{bare, run};
use crate::broker::Broker;

fn topology(broker: &Broker, command: &str) -> Command {
    let mut program = bare("jira-agent-producer", &["topology", command]);
    program.env("AMQP_URL", broker.url().as_str());
    program
}

#[tokio::test]
async fn what_is_missing_is_listed_created_and_then_complete() {
    let broker = Broker::shared().await;
    let check = run(&mut topology(&broker, "check")).await.ended(1);
    assert_eq!(check.lines().len(), 12, "{check:?}");
    assert!(check.lines().contains(&"queue `agent-tasks` is missing"), "{check:?}");
    assert_eq!(check.err, "fix: run `jira-agent-producer topology apply`\n");
    for _ in 0..2 {
        let apply = run(&mut topology(&broker, "apply")).await.ended(0);
        assert_eq!(apply.lines().len(), 12, "{apply:?}");
        assert!(apply.lines().contains(&"queue agent-tasks.retry.30s"), "{apply:?}");
    }
    let check = run(&mut topology(&broker, "check")).await.ended(0);
    assert_eq!((check.out.as_str(), check.err.as_str()), ("", "the topology is complete\n"));
}

#[tokio::test]
async fn a_queue_that_is_not_as_it_should_be_is_named_with_its_argument() {
    let broker = Broker::shared().await;
    let (_connection, channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    channel.queue_declare("agent-tasks.dlq".into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    let words = ["queue `agent-tasks.dlq`", "`x-queue-type`", "'quorum'", "'classic'", "delete it and run"];
    let apply = run(&mut topology(&broker, "apply")).await.ended(78);
    apply.words(&words);
    let check = run(&mut topology(&broker, "check")).await.ended(1);
    let line = check.lines().into_iter().find(|line| line.contains("agent-tasks.dlq")).unwrap().to_owned();
    assert!(words[..4].iter().all(|word| line.contains(word)), "{line}");
    check.words(&["delete it and run"]);
}

#[tokio::test]
async fn a_broker_that_is_away_is_named() {
    let address = super::nowhere();
    for command in ["apply", "check"] {
        let mut program = bare("jira-agent-producer", &["topology", command]);
        let said =
            run(program.env("AMQP_URL", format!("amqp://{address}"))).await.ended(69).words(&[&address]);
        assert_eq!(said.out, "");
    }
}
