//! The queue inside one process, for the demonstration and for tests of what stands above a queue. Nothing survives
//! the process; a retry waits exactly as long as asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::{
    Backlog, Consumer, Counters, DeadLetter, Death, Delivery, DeliveryInfo, EventStream, Hold, Lease,
    LeaseKey, LeaseOutcome, OrderStream, QueueError, Retry, Settle, Settled, TaskQueue,
};
use crate::domain::{Event, Order, Task, TaskId};

/// How many events a slow follower may lag behind before it misses the oldest.
const EVENTS_KEPT: usize = 1024;

/// A queue in memory. Clones are the same queue.
#[derive(Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    events: broadcast::Sender<Event>,
    orders: broadcast::Sender<Order>,
    closed: CancellationToken,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Message>,
    held: HashMap<u64, Message>,
    delayed: usize,
    next_number: u64,
    dead: Vec<DeadLetter>,
    leases: HashMap<String, (u64, CancellationToken)>,
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

#[derive(Clone)]
struct Message {
    body: Bytes,
    info: DeliveryInfo,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            events: broadcast::channel(EVENTS_KEPT).0,
            orders: broadcast::channel(EVENTS_KEPT).0,
            closed: CancellationToken::new(),
        });
        Self { shared }
    }
}

impl MemoryQueue {
    /// How many tasks are not done: ready, held by a consumer, or waiting for another attempt.
    #[must_use]
    pub fn depth(&self) -> usize {
        let state = self.shared.state();
        state.ready.len() + state.held.len() + state.delayed
    }

    /// Puts a body on the queue as another program would: without our headers.
    pub fn publish_body(&self, body: impl Into<Bytes>) {
        let body = body.into();
        let info = first_info(None);
        self.shared.push(Message { body, info });
    }
}

fn first_info(message_id: Option<String>) -> DeliveryInfo {
    DeliveryInfo {
        first_published: message_id.is_some().then(Timestamp::now),
        message_id,
        attempt: 1,
        waits: 0,
        crashes: 0,
        delivery_count: 0,
        traceparent: None,
        redelivered: false,
        replayed_by: None,
    }
}

fn message(task: &Task) -> Message {
    Message { body: task.to_json().into(), info: first_info(Some(task.id.to_string())) }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: Message) {
        self.state().ready.push_back(message);
        self.changed.notify_waiters();
    }

    /// Takes a dead letter away, and copies of it too.
    fn bury(&self, id: &str) -> Option<DeadLetter> {
        let mut state = self.state();
        state.dead.extract_if(.., |letter| letter.id == id).reduce(|first, _copy| first)
    }

    /// What was held and not settled is handed out again. Its holder lives on in this process, so that counts as no
    /// death.
    fn redeliver(&self, number: u64) {
        let mut state = self.state();
        if let Some(mut message) = state.held.remove(&number) {
            message.info.redelivered = true;
            state.ready.push_front(message);
            drop(state);
            self.changed.notify_waiters();
        }
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn publish(&self, task: &Task) -> Result<(), QueueError> {
        self.shared.push(message(task));
        Ok(())
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        Ok(Box::new(MemoryConsumer {
            shared: self.shared.clone(),
            one: Arc::new(Semaphore::new(1)),
            holds: None,
            stopped: false,
            gone: self.shared.closed.child_token(),
        }))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        // An error says that nobody follows.
        let _ = self.shared.events.send(event.clone());
        Ok(())
    }

    async fn follow(&self, runs: &[TaskId]) -> Result<EventStream, QueueError> {
        let runs = runs.to_vec();
        let closed = self.shared.closed.clone();
        let events = BroadcastStream::new(self.shared.events.subscribe());
        let of_runs = events.filter_map(move |event| {
            let event = event.ok().filter(|event| runs.contains(&event.run));
            std::future::ready(event)
        });
        Ok(Box::pin(of_runs.take_until(async move { closed.cancelled().await })))
    }

    async fn order(&self, order: &Order) -> Result<(), QueueError> {
        // An error says that nobody listens.
        let _ = self.shared.orders.send(order.clone());
        Ok(())
    }

    async fn orders(&self) -> Result<OrderStream, QueueError> {
        let closed = self.shared.closed.clone();
        let orders = BroadcastStream::new(self.shared.orders.subscribe());
        let orders = orders.filter_map(|order| std::future::ready(order.ok()));
        Ok(Box::pin(orders.take_until(async move { closed.cancelled().await })))
    }

    async fn backlog(&self) -> Result<Backlog, QueueError> {
        let state = self.shared.state();
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        Ok(Backlog {
            ready: count(state.ready.len()),
            held: Some(count(state.held.len())),
            delayed: count(state.delayed),
            dead: count(state.dead.len()),
        })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.shared.state().dead.iter().take(limit).cloned().collect())
    }

    async fn replay(&self, letter: &str, by: &str) -> Result<bool, QueueError> {
        let Some(letter) = self.shared.bury(letter) else {
            return Ok(false);
        };
        let mut info = first_info(letter.info.message_id);
        info.replayed_by = Some(by.to_owned());
        self.shared.push(Message { body: letter.body, info });
        Ok(true)
    }

    async fn discard(&self, letter: &str) -> Result<bool, QueueError> {
        Ok(self.shared.bury(letter).is_some())
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        Ok(take_lease(&self.shared, key, self.shared.closed.child_token()))
    }

    async fn close(&self) {
        self.shared.closed.cancel();
    }
}

struct MemoryConsumer {
    shared: Arc<Shared>,
    /// One delivery at a time: its permit is the delivery's.
    one: Arc<Semaphore>,
    /// The number of the delivery that is held.
    holds: Option<u64>,
    stopped: bool,
    gone: CancellationToken,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        if self.stopped {
            return None;
        }
        let permit = self.one.clone();
        // Cancel-safe: a permit that is given up goes back, and a message leaves the queue in one step.
        let permit = tokio::select! {
            permit = permit.acquire_owned() => permit.ok()?,
            () = self.gone.cancelled() => return None,
        };
        let shared = self.shared.clone();
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.gone.is_cancelled() {
                return None;
            }
            if let Some((message, number)) = self.pop() {
                let settle =
                    MemorySettle { shared: shared.clone(), number, lost: self.gone.clone(), _permit: permit };
                return Some(Delivery::new(message.body, message.info, Box::new(settle)));
            }
            // Cancel-safe: nothing was taken yet.
            tokio::select! {
                () = changed => {}
                () = self.gone.cancelled() => return None,
            }
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
    }
}

impl MemoryConsumer {
    fn pop(&mut self) -> Option<(Message, u64)> {
        let mut state = self.shared.state();
        let message = state.ready.pop_front()?;
        let number = state.next_number();
        state.held.insert(number, message.clone());
        drop(state);
        self.holds = Some(number);
        Some((message, number))
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(number) = self.holds {
            self.shared.redeliver(number);
        }
    }
}

struct MemorySettle {
    shared: Arc<Shared>,
    number: u64,
    lost: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl MemorySettle {
    /// Ends the delivery and does `then` with its message, unless it was taken back.
    fn settle(&self, then: impl FnOnce(&mut State, Message)) -> Result<Settled, QueueError> {
        let mut state = self.shared.state();
        let Some(message) = state.held.remove(&self.number) else {
            return Ok(Settled::WillBeRedelivered);
        };
        then(&mut state, message);
        drop(state);
        self.shared.changed.notify_waiters();
        Ok(Settled::Done)
    }
}

impl Drop for MemorySettle {
    fn drop(&mut self) {
        self.shared.redeliver(self.number);
    }
}

/// A message that goes back is a new one to the queue.
fn fresh(message: Message, counters: Counters) -> Message {
    let Counters { attempt, waits, crashes } = counters;
    let info =
        DeliveryInfo { attempt, waits, crashes, delivery_count: 0, redelivered: false, ..message.info };
    Message { info, ..message }
}

#[async_trait]
impl Settle for MemorySettle {
    async fn ack(self: Box<Self>) -> Result<Settled, QueueError> {
        self.settle(|_, _| {})
    }

    async fn retry(
        self: Box<Self>,
        _body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError> {
        let counters = info.counters_after(&retry);
        let later = Arc::downgrade(&self.shared);
        self.settle(|state, message| {
            state.delayed += 1;
            tokio::spawn(async move {
                tokio::time::sleep(retry.after).await;
                if let Some(shared) = later.upgrade() {
                    let mut state = shared.state();
                    state.delayed -= 1;
                    state.ready.push_back(fresh(message, counters));
                    drop(state);
                    shared.changed.notify_waiters();
                }
            });
        })
    }

    async fn release(
        self: Box<Self>,
        _body: &Bytes,
        info: &DeliveryInfo,
        _reason: &str,
    ) -> Result<Settled, QueueError> {
        self.settle(|state, message| state.ready.push_back(fresh(message, info.counters())))
    }

    async fn dead_letter(
        self: Box<Self>,
        _body: &Bytes,
        info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError> {
        let info = info.clone();
        self.settle(|state, Message { body, .. }| {
            let id = DeadLetter::id_of(info.message_id.as_deref(), &body);
            let Death { reason, step } = death.clone();
            let died_at = Some(Timestamp::now());
            state.dead.push(DeadLetter { id, body, info, reason: Some(reason), step, died_at });
        })
    }

    async fn normalise(self: Box<Self>, info: &DeliveryInfo, task: &Task) -> Result<Settled, QueueError> {
        let mut whole = message(task);
        whole.info.traceparent.clone_from(&info.traceparent);
        self.settle(|state, _| state.ready.push_back(whole))
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        Ok(take_lease(&self.shared, key, self.lost.clone()))
    }

    fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

/// The lease ends when it is released or dropped, or when `lost` is cancelled.
fn take_lease(shared: &Arc<Shared>, key: &LeaseKey, lost: CancellationToken) -> LeaseOutcome {
    let name = key.name();
    let mut state = shared.state();
    let held = |(_, lost): &(u64, CancellationToken)| !lost.is_cancelled();
    if lost.is_cancelled() || state.leases.get(&name).is_some_and(held) {
        return LeaseOutcome::Held;
    }
    let number = state.next_number();
    state.leases.insert(name.clone(), (number, lost.clone()));
    let hold = MemoryHold { shared: shared.clone(), name, number };
    LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold)))
}

struct MemoryHold {
    shared: Arc<Shared>,
    name: String,
    number: u64,
}

#[async_trait]
impl Hold for MemoryHold {
    async fn release(self: Box<Self>) {}
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        // One that was lost may be another's by now.
        if state.leases.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            state.leases.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::EventKind;
    use crate::queue::Counts;

    const SOON: Duration = Duration::from_secs(5);

    fn task() -> Task {
        Task::new("PROJ-1".parse().unwrap())
    }

    fn key() -> LeaseKey {
        LeaseKey { repository: "acme/shop".parse().unwrap(), branch: "ai/PROJ-1".parse().unwrap() }
    }

    async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
        let next = tokio::time::timeout(SOON, consumer.next()).await;
        next.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_published_task_is_delivered_once_and_forgotten_when_acked() {
        let queue = MemoryQueue::default();
        let task = task();
        queue.publish(&task).await.unwrap();
        let mut consumer = queue.consume().await.unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body, task.to_json());
        assert_eq!(delivery.info.message_id, Some(task.id.to_string()));
        assert_eq!((delivery.info.attempt, delivery.info.redelivered), (1, false));
        assert_eq!(queue.depth(), 1);
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_consumer_gets_one_task_at_a_time() {
        let queue = MemoryQueue::default();
        queue.publish(&task()).await.unwrap();
        queue.publish(&task()).await.unwrap();
        let mut consumer = queue.consume().await.unwrap();
        let first = next(&mut consumer).await;
        let early = tokio::time::timeout(Duration::from_millis(20), consumer.next()).await;
        assert!(early.is_err());
        first.ack().await.unwrap();
        next(&mut consumer).await.ack().await.unwrap();
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_retry_comes_back_later_and_counts_when_it_should() {
        let queue = MemoryQueue::default();
        queue.publish(&task()).await.unwrap();
        let mut consumer = queue.consume().await.unwrap();
        for (counts, attempt) in
            [(Counts::Attempt, 1), (Counts::Wait, 2), (Counts::Attempt, 2), (Counts::Attempt, 3)]
        {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.info.attempt, attempt);
            let retry = Retry { after: Duration::from_millis(5), counts, reason: "busy".to_owned() };
            delivery.retry(retry).await.unwrap();
            assert_eq!(queue.depth(), 1);
        }
    }

    #[tokio::test]
    async fn a_dead_letter_is_kept_with_its_reason() {
        let queue = MemoryQueue::default();
        queue.publish_body("not a task");
        let mut consumer = queue.consume().await.unwrap();
        next(&mut consumer).await.dead_letter(&Death::new("cannot be read")).await.unwrap();
        let letters = queue.dead_letters(10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].body, "not a task");
        assert_eq!(letters[0].reason.as_deref(), Some("cannot be read"));
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_body_without_an_id_is_normalised_into_a_new_message() {
        let queue = MemoryQueue::default();
        queue.publish_body("PROJ-1");
        let mut consumer = queue.consume().await.unwrap();
        let task = task();
        next(&mut consumer).await.normalise(&task).await.unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body, task.to_json());
        assert_eq!(delivery.info.message_id, Some(task.id.to_string()));
    }

    #[tokio::test]
    async fn what_is_dropped_unsettled_is_delivered_again() {
        let queue = MemoryQueue::default();
        queue.publish(&task()).await.unwrap();
        let mut consumer = queue.consume().await.unwrap();
        drop(next(&mut consumer).await);
        let again = next(&mut consumer).await;
        assert_eq!((again.info.redelivered, again.info.delivery_count), (true, 0));
        let lost = again.lost();
        drop(consumer);
        assert!(lost.is_cancelled());
        assert_eq!(again.ack().await.unwrap(), Settled::WillBeRedelivered);
        let mut other = queue.consume().await.unwrap();
        assert!(next(&mut other).await.info.redelivered);
    }

    #[tokio::test]
    async fn a_stopped_consumer_keeps_what_it_holds_and_takes_no_more() {
        let queue = MemoryQueue::default();
        queue.publish(&task()).await.unwrap();
        queue.publish(&task()).await.unwrap();
        let mut consumer = queue.consume().await.unwrap();
        let held = next(&mut consumer).await;
        consumer.stop().await;
        assert!(consumer.next().await.is_none());
        assert_eq!(held.release("the worker stops").await.unwrap(), Settled::Done);
        assert_eq!(queue.depth(), 2);
    }

    #[tokio::test]
    async fn a_lease_has_one_holder_until_it_is_given_back_or_lost() {
        let queue = MemoryQueue::default();
        queue.publish(&task()).await.unwrap();
        let LeaseOutcome::Granted(lease) = queue.lease(&key()).await.unwrap() else {
            panic!("the first asks and gets it");
        };
        assert!(matches!(queue.lease(&key()).await.unwrap(), LeaseOutcome::Held));
        lease.release().await;
        let mut consumer = queue.consume().await.unwrap();
        let delivery = next(&mut consumer).await;
        let LeaseOutcome::Granted(lease) = delivery.lease(&key()).await.unwrap() else {
            panic!("it was given back");
        };
        drop(consumer);
        assert!(lease.lost().is_cancelled());
        let LeaseOutcome::Granted(_new) = queue.lease(&key()).await.unwrap() else {
            panic!("it was lost with its consumer");
        };
        // The old holder lets go of what is another's by now.
        drop(lease);
        assert!(matches!(queue.lease(&key()).await.unwrap(), LeaseOutcome::Held));
    }

    #[tokio::test]
    async fn events_reach_the_followers_of_their_run() {
        let queue = MemoryQueue::default();
        let (run, other) = (TaskId::generate(), TaskId::generate());
        let mut stream = queue.follow(&[run]).await.unwrap();
        for id in [other, run] {
            let mut run = crate::domain::Run::queued(id, "PROJ-1".parse().unwrap());
            let event = run.record(EventKind::Claimed, 1, serde_json::Value::Null).unwrap();
            queue.emit(event).await.unwrap();
        }
        let event = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap();
        assert_eq!(event.run, run);
        queue.close().await;
        assert!(tokio::time::timeout(SOON, stream.next()).await.unwrap().is_none());
        assert!(queue.consume().await.unwrap().next().await.is_none());
    }
}
