//! Orders to workers and events of runs.

use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use jira_agent::domain::{Event, EventKind, Order, Run, TaskId};
use serde_json::json;

use super::stage::{Shown, Stage};
use crate::broker::SOON;

/// How long nothing has to come to be taken for nothing.
const QUIET: Duration = Duration::from_millis(400);

fn cancel(number: u32) -> Order {
    Order::Cancel {
        ticket: format!("PROJ-{number}").parse().unwrap(),
        by: "ann".parse().unwrap(),
        at: Timestamp::now(),
    }
}

fn event(run: TaskId, kind: EventKind) -> Event {
    let mut run = Run::queued(run, "PROJ-1".parse().unwrap());
    run.record(kind, 1, json!({"duration_ms": 7, "note": "größer 🎫"})).unwrap().clone()
}

async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(SOON, stream.next()).await.expect("something in time").expect("the stream goes on")
}

async fn nothing<T: std::fmt::Debug>(stream: &mut (impl Stream<Item = T> + Unpin)) {
    if let Ok(Some(item)) = tokio::time::timeout(QUIET, stream.next()).await {
        panic!("something that should not come: {item:?}");
    }
}

pub async fn an_order_reaches_every_listener_of_now_and_no_later_one(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let mut first = queue.orders().await.unwrap();
    let mut second = other.orders().await.unwrap();
    let sent = [cancel(1), cancel(2)];
    for order in &sent {
        queue.order(order).await.unwrap();
    }
    for stream in [&mut first, &mut second] {
        for order in &sent {
            assert_eq!(next(stream).await, *order);
        }
    }
    let mut late = other.orders().await.unwrap();
    nothing(&mut late).await;
    other.order(&cancel(3)).await.unwrap();
    for stream in [&mut first, &mut second, &mut late] {
        let Order::Cancel { ticket, .. } = next(stream).await;
        assert_eq!(ticket.to_string(), "PROJ-3");
        nothing(stream).await;
    }
    Ok(())
}

pub async fn an_order_needs_no_listener(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    drop(queue.orders().await.unwrap());
    for number in 1..=20 {
        queue.order(&cancel(number)).await.unwrap();
    }
    Ok(())
}

pub async fn a_follower_sees_its_runs_in_order_and_no_others(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let (one, two, stranger) = (TaskId::generate(), TaskId::generate(), TaskId::generate());
    queue.emit(&event(one, EventKind::Queued)).await.unwrap();
    let mut both = other.follow(&[one, two]).await.unwrap();
    let mut only = other.follow(&[two]).await.unwrap();
    let mut none = other.follow(&[]).await.unwrap();
    let sent = [
        event(one, EventKind::Claimed),
        event(stranger, EventKind::Claimed),
        event(two, EventKind::Claimed),
        event(one, EventKind::Succeeded),
        event(two, EventKind::Failed),
    ];
    for event in &sent {
        queue.emit(event).await.unwrap();
    }
    for index in [0, 2, 3, 4] {
        assert_eq!(next(&mut both).await, sent[index]);
    }
    for index in [2, 4] {
        assert_eq!(next(&mut only).await, sent[index]);
    }
    nothing(&mut both).await;
    nothing(&mut only).await;
    nothing(&mut none).await;
    Ok(())
}

pub async fn events_that_nobody_follows_hold_nobody_up(stage: &dyn Stage) -> Shown {
    const EVENTS: u32 = 2_000;
    let queue = stage.client().await;
    let run = TaskId::generate();
    let event = event(run, EventKind::Claimed);
    let start = Instant::now();
    for _ in 0..EVENTS {
        queue.emit(&event).await.unwrap();
    }
    assert!(start.elapsed() < EVENTS * Duration::from_millis(15), "{EVENTS} took {:?}", start.elapsed());
    // And a follower that does not read holds up nobody either.
    let mut idle = queue.follow(&[run]).await.unwrap();
    for _ in 0..EVENTS / 10 {
        queue.emit(&event).await.unwrap();
    }
    assert_eq!(next(&mut idle).await, event);
    Ok(())
}
