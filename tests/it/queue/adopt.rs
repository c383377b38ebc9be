//! A queue `agent-tasks` that somebody else has declared.

use std::time::Duration;

use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::TopologyProblemKind;
use jira_agent::queue::{Counts, Death, QueueError, Retry, Settled, TaskQueue};
use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::{next, task};
use crate::broker::Broker;

/// `queue_declare("agent-tasks", durable=…)`, as a script does it.
async fn somebody_declares(broker: &Broker, options: QueueDeclareOptions) -> lapin::Connection {
    let (connection, channel) = broker.channel().await;
    channel.queue_declare("agent-tasks".into(), options, FieldTable::default()).await.unwrap();
    connection
}

async fn client(broker: &Broker, adopt: bool) -> RabbitMq {
    let mut config = broker.config();
    config.adopt = adopt;
    config.retry_delays = vec![Duration::from_millis(100)];
    RabbitMq::connect(&config, "test").await.unwrap()
}

#[tokio::test]
async fn without_leave_a_foreign_queue_is_explained_with_both_ways_out() {
    let broker = Broker::shared().await;
    somebody_declares(&broker, QueueDeclareOptions::durable()).await;
    let queue = client(&broker, false).await;
    let error = queue.apply_topology().await.unwrap_err();
    assert!(matches!(error, QueueError::Topology(_)), "{error}");
    let text = error.to_string();
    for part in ["`agent-tasks`", "argument `x-", "delete it and run", "`queue.adopt = true`", "replication"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(queue.adopted().await.unwrap(), None);
    assert!(queue.consume().await.is_err());
}

#[tokio::test]
async fn a_plain_durable_queue_is_adopted_and_works_from_end_to_end() {
    let broker = Broker::shared().await;
    somebody_declares(&broker, QueueDeclareOptions::durable()).await;
    let queue = client(&broker, true).await;
    let report = queue.apply_topology().await.unwrap();
    let adopted = report.adopted.unwrap();
    let words = adopted.to_string();
    assert!(words.contains("argument `x-") && words.contains("no replication"), "{words}");
    assert_eq!(queue.adopted().await.unwrap(), Some(adopted));
    assert_eq!(queue.check_topology().await.unwrap().len(), 0);

    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let first = next(&mut consumer).await;
    assert_eq!((first.info.attempt, first.info.delivery_count), (1, 0));
    let retry = Retry { after: Duration::ZERO, counts: Counts::Attempt, reason: "busy".to_owned() };
    assert_eq!(first.retry(retry).await.unwrap(), Settled::Done);
    let second = next(&mut consumer).await;
    assert_eq!((second.info.attempt, second.info.message_id.clone()), (2, Some(task.id.to_string())));
    assert_eq!(second.release("the worker stops").await.unwrap(), Settled::Done);
    let third = next(&mut consumer).await;
    assert_eq!(third.dead_letter(&Death::new("no such repository")).await.unwrap(), Settled::Done);
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(letters[0].reason.as_deref(), Some("no such repository"));
    assert!(queue.replay(&letters[0].id, "ann").await.unwrap());
    assert_eq!(next(&mut consumer).await.ack().await.unwrap(), Settled::Done);
    assert_eq!(queue.backlog().await.unwrap(), jira_agent::queue::Backlog::default());
    // What the other program publishes arrives as well: through the default exchange.
    let (_connection, channel) = broker.channel().await;
    let publish = channel.basic_publish(
        "".into(),
        "agent-tasks".into(),
        Default::default(),
        b"PROJ-7",
        BasicProperties::default(),
    );
    publish.await.unwrap();
    assert_eq!(next(&mut consumer).await.body, "PROJ-7");
}

#[tokio::test]
async fn a_classic_queue_counts_one_return_at_most() {
    let broker = Broker::shared().await;
    somebody_declares(&broker, QueueDeclareOptions::durable()).await;
    client(&broker, true).await.apply_topology().await.unwrap();
    client(&broker, true).await.publish(&task()).await.unwrap();
    for redelivered in [false, true, true, true] {
        // Each time another worker, which is gone afterwards.
        let mut consumer = client(&broker, true).await.consume().await.unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.info.redelivered, redelivered);
        assert_eq!(delivery.info.delivery_count, u32::from(redelivered));
        drop(delivery);
        super::end_of(&mut consumer).await;
    }
}

#[tokio::test]
async fn a_queue_that_forgets_its_tasks_is_not_adopted() {
    let broker = Broker::shared().await;
    let kept = QueueDeclareOptions::default();
    let _connection = somebody_declares(&broker, kept).await;
    let queue = client(&broker, true).await;
    let text = queue.apply_topology().await.unwrap_err().to_string();
    for part in ["`agent-tasks`", "`durable`", "delete it and run", "loses accepted tasks"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(queue.adopted().await.unwrap(), None);
    let problems = queue.check_topology().await.unwrap();
    let unfit = |kind: &TopologyProblemKind| matches!(kind, TopologyProblemKind::Unfit(_));
    assert_eq!(problems.iter().filter(|problem| unfit(&problem.kind)).count(), 1);
}

#[tokio::test]
async fn leave_to_adopt_changes_nothing_where_there_is_nothing_to_adopt() {
    let broker = Broker::shared().await;
    let queue = client(&broker, true).await;
    assert_eq!(queue.apply_topology().await.unwrap().adopted, None);
    assert_eq!(queue.adopted().await.unwrap(), None);
    assert_eq!(client(&broker, false).await.check_topology().await.unwrap().len(), 0);
}
