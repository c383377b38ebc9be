//! Declaring the topology and looking whether it is there.

use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::tiers::Tiers;
use jira_agent::queue::topology::{Argument, TopologyProblemKind, queues};
use jira_agent::queue::{QueueError, TaskQueue};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::task;
use crate::broker::Broker;

#[tokio::test]
async fn applying_twice_changes_nothing_and_loses_nothing() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let report = queue.apply_topology().await.unwrap();
    assert_eq!((report.exchanges.len(), report.queues.len()), (5, 7));
    assert_eq!(queue.check_topology().await.unwrap(), []);
    broker.wait_for_depth(&queue, "agent-tasks", 1).await;
}

#[tokio::test]
async fn checking_an_empty_broker_names_everything_and_creates_nothing() {
    let broker = Broker::shared().await;
    let queue = RabbitMq::connect(&broker.config(), "test").await.unwrap();
    for _ in 0..2 {
        let problems = queue.check_topology().await.unwrap();
        assert_eq!(problems.len(), 12);
        assert!(problems.iter().all(|problem| problem.kind == TopologyProblemKind::Missing));
    }
    let error = queue.depths().await.unwrap_err().to_string();
    assert!(error.contains("`agent-tasks` is missing"), "{error}");
}

#[tokio::test]
async fn a_consumer_declares_only_when_it_may() {
    let broker = Broker::shared().await;
    let mut config = broker.config();
    config.declare = false;
    let queue = RabbitMq::connect(&config, "test").await.unwrap();
    let error = queue.consume().await.err().unwrap();
    assert!(matches!(error, QueueError::Topology(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("agent.control") && text.contains("topology apply"), "{text}");
    config.declare = true;
    let queue = RabbitMq::connect(&config, "test").await.unwrap();
    queue.consume().await.unwrap();
    assert_eq!(queue.check_topology().await.unwrap(), []);
}

#[tokio::test]
async fn a_queue_with_another_argument_is_named_with_the_argument() {
    let broker = Broker::shared().await;
    let (_connection, channel) = broker.channel().await;
    let mut arguments = FieldTable::default();
    for (name, value) in &queues(&Tiers::new(&[]))[0].arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString((*text).into()),
            Argument::Number(20) => AMQPValue::LongInt(5),
            Argument::Number(other) => panic!("the delivery limit is 20, not {other}"),
        };
        arguments.insert((*name).into(), value);
    }
    let options = QueueDeclareOptions::durable();
    channel.queue_declare("agent-tasks".into(), options, arguments).await.unwrap();
    let queue = RabbitMq::connect(&broker.config(), "test").await.unwrap();
    let error = queue.apply_topology().await.unwrap_err();
    assert!(matches!(error, QueueError::Topology(_)), "{error}");
    let text = error.to_string();
    for part in ["queue `agent-tasks`", "`x-delivery-limit`", "'20'", "'5'", "delete it"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let problems = queue.check_topology().await.unwrap();
    let differs = |kind: &TopologyProblemKind| matches!(kind, TopologyProblemKind::Differs(_));
    let different: Vec<_> = problems.iter().filter(|problem| differs(&problem.kind)).collect();
    assert_eq!(different.len(), 1);
    assert!(text.contains(&different[0].to_string()));
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_named() {
    let broker = Broker::shared().await;
    let (_connection, channel) = broker.channel().await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = lapin::ExchangeKind::Topic;
    channel.exchange_declare("agent.dlx".into(), kind, options, FieldTable::default()).await.unwrap();
    let queue = RabbitMq::connect(&broker.config(), "test").await.unwrap();
    let text = queue.apply_topology().await.unwrap_err().to_string();
    assert!(text.contains("exchange `agent.dlx`") && text.contains("`type`"), "{text}");
}
