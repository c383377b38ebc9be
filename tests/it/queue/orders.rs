//! Orders to all workers.

use futures_util::StreamExt;
use jiff::Timestamp;
use jira_agent::domain::Order;
use jira_agent::queue::TaskQueue;

use super::{next, task};
use crate::broker::{Broker, SOON};

fn cancel(ticket: &str) -> Order {
    Order::Cancel { ticket: ticket.parse().unwrap(), by: "ann".parse().unwrap(), at: Timestamp::UNIX_EPOCH }
}

#[tokio::test]
async fn an_order_reaches_everybody_who_listens_and_nobody_who_comes_later() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    // Nobody listens: that is no error, and it is not kept.
    queue.order(&cancel("PROJ-1")).await.unwrap();
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(queue.orders().await.unwrap());
    }
    queue.order(&cancel("PROJ-2")).await.unwrap();
    queue.order(&cancel("PROJ-3")).await.unwrap();
    for listener in &mut listeners {
        for ticket in ["PROJ-2", "PROJ-3"] {
            let order = tokio::time::timeout(SOON, listener.next()).await.unwrap().unwrap();
            assert_eq!(order, cancel(ticket));
        }
    }
}

#[tokio::test]
async fn what_workers_tell_each_other_and_what_nobody_knows_is_no_order() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut orders = queue.orders().await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    drop(next(&mut consumer).await);
    super::end_of(&mut consumer).await;
    // The new connection tells that its worker has survived the old one.
    let mut consumer = queue.consume().await.unwrap();
    let held = next(&mut consumer).await;
    let (_connection, channel) = broker.channel().await;
    let publish = channel.basic_publish(
        "agent.control".into(),
        "".into(),
        Default::default(),
        br#"{"order":"dance"}"#,
        Default::default(),
    );
    publish.await.unwrap().await.unwrap();
    queue.order(&cancel("PROJ-1")).await.unwrap();
    let first = tokio::time::timeout(SOON, orders.next()).await.unwrap().unwrap();
    assert_eq!(first, cancel("PROJ-1"));
    held.ack().await.unwrap();
}

#[tokio::test]
async fn listening_ends_with_the_connection() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let mut orders = queue.orders().await.unwrap();
    broker.close_connections("test (orders)").await;
    assert_eq!(tokio::time::timeout(SOON, orders.next()).await.unwrap(), None);
}
