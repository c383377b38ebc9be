//! A bare key that came back after it had got its id is on the queue twice, with two ids: it stays one piece of work.

use jiff::Timestamp;
use jira_agent::domain::Task;
use jira_agent::queue::TaskQueue as _;
use lapin::BasicProperties;
use tokio::time::timeout;

use crate::broker::SOON;
use crate::world::{TICKET, World};

/// What the model was asked, how often.
fn asked(world: &World) -> usize {
    world.simulator.models().calls().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_key_whose_connection_was_lost_before_the_ack_is_worked_on_once() {
    let world = World::new().await;
    world.publish(TICKET).await;
    let mut consumer = world.queue.consume().await.unwrap();
    let bare = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    // The publish of `normalise` was confirmed, and then the connection was lost: the key goes back.
    let whole = Task { requested_at: Some(Timestamp::now()), ..Task::new(TICKET.parse().unwrap()) };
    world.queue.publish(&whole).await.unwrap();
    drop(bare);
    drop(consumer);
    world.broker.wait_for_depth(&world.queue, "agent-tasks", 2).await;
    let worker = world.work_off().await;
    assert_eq!(worker.log.matches("a task without an id gets one").count(), 1, "{}", worker.log);
    assert!(worker.log.contains("superseded"), "{}", worker.log);
    assert_eq!(asked(&world), 1);
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_key_with_the_time_of_its_publish_is_worked_on_once_however_late_it_comes_back() {
    let world = World::new().await;
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    for _ in 0..2 {
        world.broker.publish(TICKET, BasicProperties::default().with_timestamp(now)).await;
        world.work_off().await;
    }
    assert_eq!(asked(&world), 1);
    world.assert_fixed().await;
    world.finish().await;
}
