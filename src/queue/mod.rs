//! The queue: tasks in, deliveries out, and the right to work on a ticket.
//!
//! A [`Delivery`] is settled by value, so settling twice does not compile:
//! ```compile_fail
//! # async fn twice(delivery: jira_agent::queue::Delivery) {
//! let _ = delivery.ack().await;
//! let _ = delivery.ack().await;
//! # }
//! ```

pub mod memory;
pub mod rabbitmq;
pub mod redis;
pub mod sqlite;
pub mod tiers;
pub mod topology;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::config::{QueueConfig, QueueKind};
use crate::domain::{BranchName, Event, Order, RepoSlug, Task, TaskId};
use crate::http::Http;

/// A stream of events of runs.
pub type EventStream = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// A stream of orders to workers.
pub type OrderStream = Pin<Box<dyn Stream<Item = Order> + Send>>;

/// The queue that the settings name. `connection_name` is what a broker's own pages show.
///
/// # Errors
/// When the settings cannot be used; the broker itself is asked later.
pub async fn connect(config: &QueueConfig, connection_name: &str) -> Result<Arc<dyn TaskQueue>, QueueError> {
    Ok(match config.kind {
        QueueKind::Rabbitmq => Arc::new(rabbitmq::RabbitMq::connect(config, connection_name).await?),
        QueueKind::Redis => Arc::new(redis::Redis::connect(config, connection_name).await?),
        QueueKind::Sqlite => Arc::new(sqlite::Sqlite::connect(config).await?),
    })
}

/// Where tasks wait. One implementation a transport.
#[async_trait]
pub trait TaskQueue: Send + Sync {
    /// Puts a task on the queue; returns once the broker has it for good.
    ///
    /// # Errors
    /// When the broker is unreachable, refuses the message or has no queue for it.
    async fn publish(&self, task: &Task) -> Result<(), QueueError>;

    /// Starts to consume, one delivery at a time.
    ///
    /// # Errors
    /// When the broker is unreachable or its queues are not as they should be.
    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError>;

    /// Publishes an event. Events inform; a run never waits for them longer than the time-out of one publish.
    ///
    /// # Errors
    /// When the broker did not take it.
    async fn emit(&self, event: &Event) -> Result<(), QueueError>;

    /// Follows the events of these runs from now on.
    ///
    /// # Errors
    /// When the broker is unreachable.
    async fn follow(&self, runs: &[TaskId]) -> Result<EventStream, QueueError>;

    /// Gives an order to every worker that listens now. It is not kept: what has to outlast this moment is written on
    /// the ticket.
    ///
    /// # Errors
    /// When the broker did not take it.
    async fn order(&self, order: &Order) -> Result<(), QueueError>;

    /// The orders to workers from now on. The stream ends with its connection.
    ///
    /// # Errors
    /// When the broker is unreachable.
    async fn orders(&self) -> Result<OrderStream, QueueError>;

    /// How many tasks are where.
    ///
    /// # Errors
    /// When the broker is unreachable or a queue is missing.
    async fn backlog(&self) -> Result<Backlog, QueueError>;

    /// The oldest dead letters, at most `limit`; nothing is taken away.
    ///
    /// # Errors
    /// When the broker is unreachable or the queue is missing.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Puts a dead letter on the queue of tasks again (confirmed), with its id, its first attempt and `replayed_by`, and
    /// then takes it away. False when there is no such letter.
    ///
    /// # Errors
    /// As [`TaskQueue::publish`]; the letter is still there then.
    async fn replay(&self, letter: &str, by: &str) -> Result<bool, QueueError>;

    /// Takes a dead letter away for good. False when there is no such letter.
    ///
    /// # Errors
    /// When the broker is unreachable.
    async fn discard(&self, letter: &str) -> Result<bool, QueueError>;

    /// Takes the lease without a delivery, for a run that no task started.
    ///
    /// # Errors
    /// When the broker is unreachable.
    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError>;

    /// Looks before the first delivery whether the transport lets a worker keep a task for as long as a run takes: `run`, with
    /// the time to end it. What is worth telling people comes back in whole sentences.
    ///
    /// # Errors
    /// When it certainly does not ([`QueueError::Settings`], with what to do), or cannot be asked.
    async fn preflight(&self, _http: &Http, _run: Duration) -> Result<Vec<String>, QueueError> {
        Ok(Vec::new())
    }

    /// Closes what is open; idempotent.
    async fn close(&self);
}

/// One consumer on one connection.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; `None` when the connection or the subscription is gone. Cancel-safe.
    async fn next(&mut self) -> Option<Delivery>;

    /// Takes no more deliveries. A delivery that is held stays held and can be settled.
    async fn stop(&mut self);
}

/// How many tasks are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Waiting for a worker.
    pub ready: u64,
    /// In the hands of workers; `None` where the transport does not say.
    pub held: Option<u64>,
    /// Waiting on a tier.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A task, or what was meant to be one, that waits for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What [`TaskQueue::replay`] and [`TaskQueue::discard`] know it by: the task's id where there is one.
    pub id: String,
    /// The message body as it came.
    pub body: Bytes,
    /// The counters and headers with which it died.
    pub info: DeliveryInfo,
    /// Why it is here; `None` when the broker put it here by itself.
    pub reason: Option<String>,
    /// The step in which it failed, where that is known.
    pub step: Option<String>,
    /// When it died.
    pub died_at: Option<Timestamp>,
}

impl DeadLetter {
    /// The id of a letter: its message's, else a digest of its body, so that a body without an id has one name too.
    #[must_use]
    pub fn id_of(message_id: Option<&str>, body: &[u8]) -> String {
        if let Some(id) = message_id.filter(|id| !id.is_empty()) {
            return id.to_owned();
        }
        let digest = Sha256::digest(body);
        digest.iter().take(8).fold("sha256-".to_owned(), |id, byte| id + &format!("{byte:02x}"))
    }
}

/// What the broker says about a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// The message id, which for our own messages is the task's id.
    pub message_id: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often in a row the task has waited without that counting as an attempt: for a lease or a rate limit.
    pub waits: u32,
    /// How often the worker died over this task, as counted by us.
    pub crashes: u32,
    /// How often this very message was handed out before without having been settled, by workers that did not live to
    /// give it back. Transports leave out what they know to be no crash: their own restarts and lost connections.
    pub delivery_count: u32,
    /// When the task was first published.
    pub first_published: Option<Timestamp>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Whether this very message was handed out before, to whomever: its first delivery is over.
    pub redelivered: bool,
    /// Who put it back from the dead letters.
    pub replayed_by: Option<String>,
}

/// What is counted over the deliveries of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// See [`DeliveryInfo::attempt`].
    pub attempt: u32,
    /// See [`DeliveryInfo::waits`].
    pub waits: u32,
    /// See [`DeliveryInfo::crashes`].
    pub crashes: u32,
}

impl DeliveryInfo {
    /// The counters of this delivery.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { attempt: self.attempt, waits: self.waits, crashes: self.crashes }
    }

    /// The counters of the next delivery, after this wish.
    #[must_use]
    pub fn counters_after(&self, retry: &Retry) -> Counters {
        let Self { attempt, waits, crashes, .. } = *self;
        match retry.counts {
            // An attempt that failed has been settled: whatever killed workers before did not this time.
            Counts::Attempt => Counters { attempt: attempt.saturating_add(1), waits: 0, crashes: 0 },
            Counts::Wait => Counters { attempt, waits: waits.saturating_add(1), crashes },
            Counts::Crash => Counters { attempt, waits, crashes: crashes.saturating_add(1) },
        }
    }
}

/// How a settled delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The broker was told.
    Done,
    /// The connection was gone: the broker will hand the task out again.
    WillBeRedelivered,
}

/// How a task goes back.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Not before this long: it is rounded up to the next of `queue.retry_delays`.
    pub after: Duration,
    /// As what this counts.
    pub counts: Counts,
    /// Why, in one line for people.
    pub reason: String,
}

/// What the return of a task to the queue counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// A failed attempt.
    Attempt,
    /// A wait: for a lease, a rate limit, a service that is down.
    Wait,
    /// A death of the worker.
    Crash,
}

/// Why a task becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// In one line for people.
    pub reason: String,
    /// The step in which it failed, where that is known.
    pub step: Option<String>,
}

impl Death {
    /// Of what is in no step of a run.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), step: None }
    }
}

/// One hand-over of a task. Dropping it without settling leaves it to the broker to redeliver.
pub struct Delivery {
    /// The message body.
    pub body: Bytes,
    /// What the broker says about it.
    pub info: DeliveryInfo,
    settle: Box<dyn Settle>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Made by a transport.
    #[must_use]
    pub fn new(body: Bytes, info: DeliveryInfo, settle: Box<dyn Settle>) -> Self {
        Self { body, info, settle }
    }

    /// The work is done and its result is held by Jira and GitHub: forget the task.
    ///
    /// # Errors
    /// When the broker was reached and refused.
    pub async fn ack(self) -> Result<Settled, QueueError> {
        self.settle.ack().await
    }

    /// Gives the task back to be delivered later: confirmed publish to a tier, then ack.
    ///
    /// # Errors
    /// When the publish was not confirmed; the delivery is then unsettled and will be redelivered.
    pub async fn retry(self, retry: Retry) -> Result<Settled, QueueError> {
        self.settle.retry(&self.body, &self.info, retry).await
    }

    /// Gives the task back to be delivered at once, e.g. on shutdown: confirmed publish, then ack.
    ///
    /// # Errors
    /// As [`Delivery::retry`].
    pub async fn release(self, reason: &str) -> Result<Settled, QueueError> {
        self.settle.release(&self.body, &self.info, reason).await
    }

    /// Parks the task for people, with the counters of `info` as they are now: confirmed publish to the dead-letter queue
    /// with the reason, then ack.
    ///
    /// # Errors
    /// As [`Delivery::retry`].
    pub async fn dead_letter(self, death: &Death) -> Result<Settled, QueueError> {
        self.settle.dead_letter(&self.body, &self.info, death).await
    }

    /// Puts a task that had no id on the queue again, whole and with its new id, then acks this message.
    ///
    /// # Errors
    /// As [`Delivery::retry`].
    pub async fn normalise(self, task: &Task) -> Result<Settled, QueueError> {
        self.settle.normalise(&self.info, task).await
    }

    /// Tries to take the lease, on the connection that would ack, so that both are lost together.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        self.settle.lease(key).await
    }

    /// Cancelled when the connection that holds this delivery is lost: stop all effects, do not settle.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.settle.lost()
    }
}

/// The transport's half of a [`Delivery`]; each function as the one of that name there.
#[async_trait]
pub trait Settle: Send + Sync {
    /// See [`Delivery::ack`].
    ///
    /// # Errors
    /// As there.
    async fn ack(self: Box<Self>) -> Result<Settled, QueueError>;

    /// See [`Delivery::retry`].
    ///
    /// # Errors
    /// As there.
    async fn retry(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError>;

    /// See [`Delivery::release`].
    ///
    /// # Errors
    /// As there.
    async fn release(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        reason: &str,
    ) -> Result<Settled, QueueError>;

    /// See [`Delivery::dead_letter`].
    ///
    /// # Errors
    /// As there.
    async fn dead_letter(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError>;

    /// See [`Delivery::normalise`].
    ///
    /// # Errors
    /// As there.
    async fn normalise(self: Box<Self>, info: &DeliveryInfo, task: &Task) -> Result<Settled, QueueError>;

    /// See [`Delivery::lease`].
    ///
    /// # Errors
    /// As there.
    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError>;

    /// See [`Delivery::lost`].
    fn lost(&self) -> CancellationToken;
}

/// What a lease is on: one branch of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    /// The repository.
    pub repository: RepoSlug,
    /// The agent's branch.
    pub branch: BranchName,
}

impl LeaseKey {
    /// A name that no other key has. Owner and repository are lower-case: to GitHub they are the same in every spelling.
    pub(crate) fn name(&self) -> String {
        // Neither part has spaces.
        format!("{} {}", self.repository.to_string().to_lowercase(), self.branch)
    }
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.repository, self.branch)
    }
}

/// The answer to a wish for a lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is ours.
    Granted(Lease),
    /// Another worker has it.
    Held,
}

/// The right to work on a ticket. It ends when it is released or dropped, or with the connection.
pub struct Lease {
    key: LeaseKey,
    lost: CancellationToken,
    hold: Option<Box<dyn Hold>>,
}

/// The transport's half of a [`Lease`]; dropping it gives the lease back in the end.
#[async_trait]
pub trait Hold: Send + Sync {
    /// Gives the lease back and waits until another can take it.
    async fn release(self: Box<Self>);
}

impl Lease {
    /// Made by a transport.
    #[must_use]
    pub fn new(key: LeaseKey, lost: CancellationToken, hold: Box<dyn Hold>) -> Self {
        Self { key, lost, hold: Some(hold) }
    }

    /// What it is on.
    #[must_use]
    pub fn key(&self) -> &LeaseKey {
        &self.key
    }

    /// Cancelled when the lease is lost while it is held.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives it back and waits until another can take it.
    pub async fn release(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.release().await;
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why the queue could not do it.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The broker cannot be reached, or the connection was lost. Trying again may help.
    #[error("the queue is unreachable: {0}")]
    Unreachable(String),
    /// The broker took the message for nobody: the queue is missing.
    #[error("there is no queue `{0}` on the broker; run `jira-agent-producer topology apply`")]
    Unroutable(String),
    /// The queue is full.
    #[error("the queue `{0}` refused the message: it is full")]
    Full(String),
    /// What exists on the broker is not what this program needs.
    #[error("{0}")]
    Topology(String),
    /// A setting cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The broker refused the user, the virtual host or the operation.
    #[error("the broker refused: {0}")]
    Refused(String),
}
