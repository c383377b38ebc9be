//! Events of runs.

use futures_util::StreamExt;
use jira_agent::domain::{Event, EventKind, Run, TaskId};
use jira_agent::queue::TaskQueue;
use serde_json::json;

use crate::broker::{Broker, SOON};

fn event(run: TaskId, kind: EventKind) -> Event {
    let mut run = Run::queued(run, "PROJ-1".parse().unwrap());
    run.record(kind, 1, json!({"duration_ms": 7})).unwrap().clone()
}

#[tokio::test]
async fn a_follower_sees_its_own_run_in_order_and_the_recorder_sees_all() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (run, other) = (TaskId::generate(), TaskId::generate());
    let mut stream = queue.follow(&[run]).await.unwrap();
    let sent =
        [event(other, EventKind::Claimed), event(run, EventKind::Claimed), event(run, EventKind::Succeeded)];
    for event in &sent {
        queue.emit(event).await.unwrap();
    }
    for expected in &sent[1..] {
        let seen = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap();
        assert_eq!(seen, *expected);
    }
    broker.wait_for_depth(&queue, "agent-events", 3).await;
    let message = broker.take("agent-events").await;
    assert_eq!(message.routing_key.as_str(), format!("run.{other}.claimed"));
    assert_eq!(serde_json::from_slice::<Event>(&message.data).unwrap(), sent[0]);
}

#[tokio::test]
async fn events_are_taken_when_nobody_listens() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let (_connection, channel) = broker.channel().await;
    channel.queue_delete("agent-events".into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    queue.emit(&event(TaskId::generate(), EventKind::Claimed)).await.unwrap();
}

#[tokio::test]
async fn following_ends_with_the_connection() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let mut stream = queue.follow(&[TaskId::generate()]).await.unwrap();
    broker.close_connections("test (following)").await;
    assert_eq!(tokio::time::timeout(SOON, stream.next()).await.unwrap(), None);
}
