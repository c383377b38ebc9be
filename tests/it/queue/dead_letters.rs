//! Dead letters: looked at, put back, thrown away.

use std::time::{Duration, Instant};

use jira_agent::queue::{DeadLetter, Death, Settled, TaskQueue};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use super::{next, task};
use crate::broker::{Broker, wait_for};

const LETTERS: usize = 1000;
/// A person waits for this.
const QUICK: Duration = Duration::from_secs(15);

fn with_id(id: &str) -> BasicProperties {
    BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2)
}

/// Puts bodies among the dead letters as the broker or another program would.
async fn bury(broker: &Broker, letters: impl IntoIterator<Item = (String, BasicProperties)>) {
    let (_connection, channel) = broker.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for (body, properties) in letters {
        let options = BasicPublishOptions::default();
        let publish =
            channel.basic_publish("agent.dlx".into(), "".into(), options, body.as_bytes(), properties);
        drop(publish.await.unwrap());
    }
    channel.wait_for_confirms().await.unwrap();
}

fn ids(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.id.as_str()).collect()
}

#[tokio::test]
async fn a_dead_letter_says_why_it_is_there_and_comes_back_as_a_first_attempt() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let first_published = delivery.info.first_published;
    let death = Death { step: Some("publish".to_owned()), ..Death::new("no right to push") };
    assert_eq!(delivery.dead_letter(&death).await.unwrap(), Settled::Done);

    let [letter] = <[DeadLetter; 1]>::try_from(queue.dead_letters(10).await.unwrap()).unwrap();
    assert_eq!(
        (letter.id.as_str(), &letter.body[..]),
        (task.id.to_string().as_str(), task.to_json().as_slice())
    );
    assert_eq!(
        (letter.reason.as_deref(), letter.step.as_deref()),
        (Some("no right to push"), Some("publish"))
    );
    assert!(letter.died_at.is_some());
    assert_eq!(letter.info.first_published, first_published);

    assert!(queue.replay(&letter.id, "ann").await.unwrap());
    assert!(!queue.replay(&letter.id, "ann").await.unwrap(), "it is there no more");
    let again = next(&mut consumer).await;
    assert_eq!(again.info.message_id, Some(task.id.to_string()));
    assert_eq!((again.info.attempt, again.info.replayed_by.as_deref()), (1, Some("ann")));
    // It dies once more, with a reason of its own and in no step.
    assert_eq!(again.dead_letter(&Death::new("still no right")).await.unwrap(), Settled::Done);
    let letter = queue.dead_letters(10).await.unwrap().remove(0);
    assert_eq!((letter.reason.as_deref(), letter.step), (Some("still no right"), None));
    assert_eq!(letter.info.replayed_by.as_deref(), Some("ann"));
    assert!(queue.discard(&letter.id).await.unwrap());
    assert!(!queue.discard(&letter.id).await.unwrap());
    broker.wait_for_depth(&queue, "agent-tasks.dlq", 0).await;
}

#[tokio::test]
async fn looking_takes_nothing_away_and_counts_nothing_against_a_letter() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    bury(&broker, (1..=3).map(|number| (format!("PROJ-{number}"), with_id(&format!("id-{number}"))))).await;
    for _ in 0..30 {
        let letters = queue.dead_letters(2).await.unwrap();
        assert_eq!(ids(&letters), ["id-1", "id-2"]);
        assert_eq!(letters[0].info.delivery_count, 0);
    }
    assert_eq!(queue.dead_letters(0).await.unwrap(), []);
    assert_eq!(ids(&queue.dead_letters(10).await.unwrap()), ["id-1", "id-2", "id-3"]);
    broker.wait_for_depth(&queue, "agent-tasks.dlq", 3).await;
}

#[tokio::test]
async fn a_body_without_an_id_and_copies_of_one_letter_have_one_name() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let bare = |body: &str| (body.to_owned(), BasicProperties::default());
    let copy = || ("PROJ-2".to_owned(), with_id("id-2"));
    bury(&broker, [bare("what is this"), copy(), bare("{"), copy()]).await;
    let letters = queue.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 4);
    assert!(letters[0].id.starts_with("sha256-") && letters[0].id != letters[2].id, "{letters:?}");
    assert_eq!((letters[0].reason.as_deref(), letters[0].died_at), (None, None));

    assert!(queue.replay("id-2", "ann").await.unwrap());
    assert_eq!(queue.dead_letters(10).await.unwrap().len(), 2, "both copies are gone");
    assert_eq!(broker.drain("agent-tasks").await, ["PROJ-2"], "and one task is back");
    assert!(queue.replay(&letters[0].id, "ann").await.unwrap());
    assert_eq!(broker.drain("agent-tasks").await, ["what is this"]);
    assert!(queue.discard(&letters[2].id).await.unwrap());
    broker.wait_for_depth(&queue, "agent-tasks.dlq", 0).await;
}

#[tokio::test]
async fn what_the_broker_put_there_itself_has_no_reason_of_ours_but_a_time() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let mut headers = FieldTable::default();
    // A retry once had this reason; nobody died of it.
    headers.insert("x-reason".into(), AMQPValue::LongString("the model is busy".into()));
    headers.insert("x-attempt".into(), AMQPValue::LongInt(3));
    broker.publish("PROJ-1", with_id("id-1").with_headers(headers)).await;
    let (_connection, channel) = broker.channel().await;
    // The delivery limit is 20 returns.
    for _ in 0..=20 {
        let message = wait_for("the message", async || {
            channel.basic_get("agent-tasks".into(), Default::default()).await.unwrap()
        });
        message.await.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
    }
    broker.wait_for_depth(&queue, "agent-tasks.dlq", 1).await;
    let letter = queue.dead_letters(1).await.unwrap().remove(0);
    assert_eq!((letter.id.as_str(), letter.reason, letter.step), ("id-1", None, None));
    assert!(letter.died_at.is_some() && letter.info.attempt == 3);
    assert!(queue.replay("id-1", "ann").await.unwrap());
    let message = broker.take("agent-tasks").await;
    let headers = message.properties.headers().clone().unwrap();
    let names: Vec<_> = headers.inner().keys().map(lapin::types::ShortString::as_str).collect();
    assert!(!names.iter().any(|name| name.contains("death") || *name == "x-reason"), "{names:?}");
}

#[tokio::test]
async fn who_looks_while_another_looks_waits_and_sees_everything() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    bury(&broker, (0..200).map(|number| ("PROJ-1".to_owned(), with_id(&format!("id-{number}"))))).await;
    let looks = (0..4).map(|_| queue.dead_letters(1000));
    let answers = futures_util::future::join_all(looks).await;
    for letters in answers {
        assert_eq!(letters.unwrap().len(), 200);
    }
    let (list, replayed) = tokio::join!(queue.dead_letters(1000), queue.replay("id-150", "ann"));
    assert!(replayed.unwrap(), "a letter that another looks at is found");
    assert!(list.unwrap().len() >= 199);
}

#[tokio::test]
async fn a_thousand_letters_are_looked_through_quickly() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    bury(&broker, (0..LETTERS).map(|number| ("PROJ-1".to_owned(), with_id(&format!("id-{number}"))))).await;
    let started = Instant::now();
    assert_eq!(queue.dead_letters(LETTERS + 1).await.unwrap().len(), LETTERS);
    assert!(queue.replay("id-999", "ann").await.unwrap());
    assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    broker.wait_for_depth(&queue, "agent-tasks.dlq", 999).await;
}

#[tokio::test]
async fn a_letter_that_cannot_be_published_stays_where_it_is() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    bury(&broker, [("PROJ-1".to_owned(), with_id("id-1"))]).await;
    broker.set_policy("^agent-tasks$", json!({"max-length": 1})).await;
    wait_for("a full queue", async || queue.publish(&task()).await.err()).await;
    assert!(queue.replay("id-1", "ann").await.unwrap_err().to_string().contains("full"));
    assert_eq!(ids(&queue.dead_letters(10).await.unwrap()), ["id-1"]);
}

#[tokio::test]
async fn without_the_queue_of_dead_letters_that_is_said() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_connection, channel) = broker.channel().await;
    channel.queue_delete("agent-tasks.dlq".into(), Default::default()).await.unwrap();
    let error = queue.dead_letters(1).await.unwrap_err().to_string();
    assert!(error.contains("agent-tasks.dlq") && error.contains("topology apply"), "{error}");
}
