//! A broker without disk or network: quorum-queue semantics, each message settled by publish and ack in two steps.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jira_agent::domain::{Event, Order, Task, TaskBody, TaskId};
use jira_agent::queue::{
    Backlog, Consumer, DeadLetter, Death, Delivery, DeliveryInfo, EventStream, Hold, Lease, LeaseKey,
    LeaseOutcome, OrderStream, QueueError, Retry, Settle, Settled, TaskQueue,
};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use crate::message::{Message, onward};
use crate::sim::{Fate, Shared, Sim, Variant};

struct Connection {
    worker: usize,
    lost: CancellationToken,
    held: Option<Message>,
}

pub struct Broker {
    pub ready: VecDeque<Message>,
    pub delayed: Vec<(Instant, Message)>,
    pub dead: Vec<(TaskId, Death)>,
    pub acked: Vec<TaskId>,
    connections: BTreeMap<u64, Connection>,
    leases: HashMap<LeaseKey, (u64, u64)>,
    /// Connections that the broker has given up while their worker does not know it yet.
    unnoticed: Vec<(usize, CancellationToken)>,
    orders: broadcast::Sender<Order>,
    numbers: u64,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            delayed: Vec::new(),
            dead: Vec::new(),
            acked: Vec::new(),
            connections: BTreeMap::new(),
            leases: HashMap::new(),
            unnoticed: Vec::new(),
            orders: broadcast::channel(16).0,
            numbers: 0,
        }
    }
}

impl Broker {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn end(&mut self, number: u64, death: bool) -> Option<CancellationToken> {
        let connection = self.connections.remove(&number)?;
        self.leases.retain(|_, (holder, _)| *holder != number);
        if let Some(mut message) = connection.held {
            message.info.redelivered = true;
            message.info.delivery_count += u32::from(death);
            self.ready.push_front(message);
        }
        Some(connection.lost)
    }

    /// Gives up the connections of a worker. `death`: as far as the broker can tell the worker died; `noticed`: the
    /// worker knows at once.
    pub fn cut(&mut self, worker: usize, death: bool, noticed: bool) {
        let of_worker =
            |(number, connection): (&u64, &Connection)| (connection.worker == worker).then_some(*number);
        let numbers: Vec<u64> = self.connections.iter().filter_map(of_worker).collect();
        for number in numbers {
            let Some(lost) = self.end(number, death) else { continue };
            if noticed {
                lost.cancel();
            } else {
                self.unnoticed.push((worker, lost));
            }
        }
    }

    /// The worker, or all of them, see what they have lost.
    pub fn notice(&mut self, worker: Option<usize>) -> bool {
        let before = self.unnoticed.len();
        self.unnoticed.retain(|(of, lost)| {
            let hit = worker.is_none_or(|worker| worker == *of);
            if hit {
                lost.cancel();
            }
            !hit
        });
        before != self.unnoticed.len()
    }

    /// Whether the broker has given up a worker that does not know it yet.
    pub fn is_ghost(&self, worker: usize) -> bool {
        self.unnoticed.iter().any(|(of, _)| *of == worker)
    }

    /// Whether a worker holds a task.
    pub fn holds(&self, worker: usize) -> bool {
        self.connections.values().any(|connection| connection.worker == worker && connection.held.is_some())
    }

    /// Moves what is due from the tiers.
    pub fn ripen(&mut self) {
        let now = Instant::now();
        self.delayed.sort_by_key(|(due, _)| *due);
        let due = self.delayed.partition_point(|(due, _)| *due <= now);
        self.ready.extend(self.delayed.drain(..due).map(|(_, message)| message));
    }

    pub fn order(&self, order: Order) {
        // An error says that nobody listens.
        let _ = self.orders.send(order);
    }
}

/// One worker's door to the broker.
pub struct SimQueue {
    pub shared: Shared,
    pub worker: usize,
}

#[async_trait]
impl TaskQueue for SimQueue {
    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        self.shared.gate(self.worker, "connect", false).await;
        let lost = CancellationToken::new();
        let mut sim = self.shared.lock();
        let number = sim.broker.number();
        let connection = Connection { worker: self.worker, lost: lost.clone(), held: None };
        sim.broker.connections.insert(number, connection);
        let link = Arc::new(Link { shared: self.shared.clone(), worker: self.worker, number, lost });
        Ok(Box::new(SimConsumer { link, stopped: false }))
    }

    async fn emit(&self, _event: &Event) -> Result<(), QueueError> {
        Ok(())
    }

    async fn orders(&self) -> Result<OrderStream, QueueError> {
        let orders = BroadcastStream::new(self.shared.lock().broker.orders.subscribe());
        Ok(Box::pin(orders.filter_map(|order| std::future::ready(order.ok()))))
    }

    async fn publish(&self, _task: &Task) -> Result<(), QueueError> {
        unimplemented!("workers do not publish")
    }

    async fn follow(&self, _runs: &[TaskId]) -> Result<EventStream, QueueError> {
        unimplemented!("workers do not follow")
    }

    async fn order(&self, _order: &Order) -> Result<(), QueueError> {
        unimplemented!("workers give no orders")
    }

    async fn backlog(&self) -> Result<Backlog, QueueError> {
        unimplemented!("workers do not count")
    }

    async fn dead_letters(&self, _limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        unimplemented!("workers do not look at dead letters")
    }

    async fn replay(&self, _letter: &str, _by: &str) -> Result<bool, QueueError> {
        unimplemented!("workers do not replay")
    }

    async fn discard(&self, _letter: &str) -> Result<bool, QueueError> {
        unimplemented!("workers do not discard")
    }

    async fn lease(&self, _key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        unimplemented!("a worker that consumes takes the lease with its delivery")
    }

    async fn close(&self) {}
}

/// A connection as its worker sees it.
struct Link {
    shared: Shared,
    worker: usize,
    number: u64,
    lost: CancellationToken,
}

impl Link {
    /// Does something on the broker, when it still knows this connection.
    fn on<T>(&self, act: impl FnOnce(&mut Sim) -> T) -> Option<T> {
        let mut sim = self.shared.lock();
        if sim.broker.connections.contains_key(&self.number) {
            return Some(act(&mut sim));
        }
        drop(sim);
        // Who asks on a dead connection hears of it.
        self.lost.cancel();
        None
    }

    fn end(&self) {
        self.shared.lock().broker.end(self.number, false);
        self.lost.cancel();
    }
}

struct SimConsumer {
    link: Arc<Link>,
    stopped: bool,
}

impl Drop for SimConsumer {
    fn drop(&mut self) {
        self.link.end();
    }
}

#[async_trait]
impl Consumer for SimConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        if self.stopped {
            return None;
        }
        let Link { shared, worker, lost, number } = &*self.link;
        // Cancel-safe: a message leaves the queue after the gate, in one step.
        tokio::select! {
            biased;
            () = lost.cancelled() => return None,
            _ = shared.gate(*worker, "deliver", false) => {}
        }
        let message = self.link.on(|sim| {
            let message = sim.broker.ready.pop_front()?;
            let held = (sim.variant != Variant::AckFirst).then(|| message.clone());
            sim.broker.connections.get_mut(number)?.held = held;
            Some(message)
        })??;
        let settle = SimSettle { link: self.link.clone(), task: message.task, open: true };
        Some(Delivery::new(message.body, message.info, Box::new(settle)))
    }

    async fn stop(&mut self) {
        self.stopped = true;
    }
}

struct SimSettle {
    link: Arc<Link>,
    task: TaskId,
    open: bool,
}

impl Drop for SimSettle {
    fn drop(&mut self) {
        if self.open {
            self.link.end();
        }
    }
}

impl SimSettle {
    /// A confirmed publish, then the ack: two steps, between which anything may happen.
    async fn move_on(mut self, publish: impl FnOnce(&mut Sim)) -> Result<Settled, QueueError> {
        if self.link.shared.gate(self.link.worker, "publish", true).await == Fate::Fail {
            return Err(QueueError::Full("agent-tasks".to_owned()));
        }
        if self.link.on(publish).is_none() {
            return Ok(Settled::WillBeRedelivered);
        }
        self.link.shared.gate(self.link.worker, "ack", false).await;
        Ok(self.forget())
    }

    fn forget(&mut self) -> Settled {
        let number = self.link.number;
        let done = self.link.on(|sim| {
            if let Some(connection) = sim.broker.connections.get_mut(&number) {
                connection.held = None;
            }
            // By now two seconds have passed since any connection was lost.
            sim.broker.notice(None);
        });
        self.open = false;
        done.map_or(Settled::WillBeRedelivered, |()| Settled::Done)
    }
}

#[async_trait]
impl Settle for SimSettle {
    async fn ack(mut self: Box<Self>) -> Result<Settled, QueueError> {
        self.link.shared.gate(self.link.worker, "ack", false).await;
        let task = self.task;
        self.link.on(|sim| {
            sim.check_ack(task);
            sim.broker.acked.push(task);
        });
        Ok(self.forget())
    }

    async fn retry(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError> {
        let message = onward(body, info, info.counters_after(&retry), self.task);
        let due = Instant::now() + retry.after;
        self.move_on(|sim| sim.broker.delayed.push((due, message))).await
    }

    async fn release(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        _reason: &str,
    ) -> Result<Settled, QueueError> {
        let message = onward(body, info, info.counters(), self.task);
        self.move_on(|sim| sim.broker.ready.push_back(message)).await
    }

    async fn dead_letter(
        self: Box<Self>,
        _body: &Bytes,
        _info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError> {
        let (task, death) = (self.task, death.clone());
        self.move_on(|sim| {
            sim.check_death(task, &death);
            sim.broker.dead.push((task, death));
        })
        .await
    }

    async fn normalise(self: Box<Self>, _info: &DeliveryInfo, task: &Task) -> Result<Settled, QueueError> {
        let message = Message::first(task);
        assert!(TaskBody::parse(&message.body).is_ok_and(|body| body.had_id));
        self.move_on(|sim| sim.broker.ready.push_back(message)).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        self.link.shared.gate(self.link.worker, "lease", false).await;
        let number = self.link.number;
        let taken = self.link.on(|sim| {
            let broken = sim.variant == Variant::NoLease;
            if sim.broker.leases.contains_key(key) && !broken {
                return None;
            }
            let hold = sim.broker.number();
            sim.broker.leases.insert(key.clone(), (number, hold));
            Some(hold)
        });
        match taken {
            None => Err(QueueError::Unreachable("the connection is gone".to_owned())),
            Some(None) => Ok(LeaseOutcome::Held),
            Some(Some(hold)) => {
                let hold = SimHold { shared: self.link.shared.clone(), key: key.clone(), hold };
                Ok(LeaseOutcome::Granted(Lease::new(key.clone(), self.link.lost.clone(), Box::new(hold))))
            }
        }
    }

    fn lost(&self) -> CancellationToken {
        self.link.lost.clone()
    }
}

struct SimHold {
    shared: Shared,
    key: LeaseKey,
    hold: u64,
}

#[async_trait]
impl Hold for SimHold {
    async fn release(self: Box<Self>) {}
}

impl Drop for SimHold {
    fn drop(&mut self) {
        let mut sim = self.shared.lock();
        if sim.broker.leases.get(&self.key).is_some_and(|(_, hold)| *hold == self.hold) {
            sim.broker.leases.remove(&self.key);
        }
    }
}
