//! Consuming, one delivery at a time: one script takes a task and its lease. While there is nothing to take, a connection
//! of its own waits on the list, so that a plain `RPUSH` by anybody is seen at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::connection::{Failure, Line, Link, Settings, within};
use super::envelope::Envelope;
use super::hold::{Claim, Grip, Keeper, give_back};
use super::keys;
use super::scripts::run;
use super::settle::RedisSettle;
use crate::queue::tiers::Tiers;
use crate::queue::{Consumer, Delivery, QueueError};

/// How often at most a busy consumer looks for due tasks and expired leases; an idle one does whenever it has waited.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest wait on an empty list.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// The consumer's connections and what a delivery needs of them.
struct Subscription {
    link: Arc<Link>,
    /// The connection that the consumer began with; its end is the consumer's.
    first: Line,
    /// The connection that waits.
    waiter: Line,
    tiers: Tiers,
    swept: Mutex<Option<Instant>>,
    stopping: CancellationToken,
    /// Cancelled when the consumer is dropped: what is held goes back.
    gone: CancellationToken,
}

pub(super) struct RedisConsumer {
    subscription: Arc<Subscription>,
    /// One delivery at a time: its permit is the delivery's.
    turn: Arc<Semaphore>,
    /// A task on its way to us. It survives a `next` that is given up, so that none is taken and forgotten.
    taking: Option<BoxFuture<'static, Option<Taken>>>,
}

struct Taken {
    keeper: Arc<Keeper>,
    grip: Grip,
    envelope: Envelope,
}

/// Opens the two connections.
pub(super) async fn subscribe(settings: Arc<Settings>, tiers: Tiers) -> Result<RedisConsumer, QueueError> {
    let opened = tokio::try_join!(settings.open(), settings.open());
    let (first, waiter) = opened.map_err(|failure| settings.error(failure))?;
    let link = Arc::new(Link::new(settings.clone(), Some(first.clone())));
    // Whether the lists are there to be used shows now and not in the first wait.
    let look = link.ask(settings.timeout, async |mut connection| {
        redis::cmd("LLEN").arg(keys::READY).query_async::<i64>(&mut connection).await
    });
    look.await.map_err(|failure| settings.error(failure))?;
    let subscription = Arc::new(Subscription {
        link,
        first,
        waiter,
        tiers,
        swept: Mutex::default(),
        stopping: CancellationToken::new(),
        gone: CancellationToken::new(),
    });
    Ok(RedisConsumer { subscription, turn: Arc::new(Semaphore::new(1)), taking: None })
}

/// What the script found.
enum Found {
    Task(Box<Taken>),
    /// Nothing; and when the first delayed task is due, if there is one.
    Nothing(Option<Duration>),
}

impl Subscription {
    /// Waits for a task. `None`: the consumer stops, or a connection is gone.
    async fn take(self: Arc<Self>) -> Option<Taken> {
        let mut has_waited = false;
        while !self.stopping.is_cancelled() && !self.gone.is_cancelled() {
            let due = match self.try_take(has_waited).await {
                Ok(Found::Task(taken)) => return Some(*taken),
                Ok(Found::Nothing(due)) => due.unwrap_or(SWEEP_INTERVAL),
                Err(failure) => {
                    tracing::warn!(error = failure.text(), "no task could be taken");
                    return None;
                }
            };
            has_waited = true;
            // Cancel-safe: waiting takes nothing off the list.
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.gone.cancelled() => return None,
                () = self.first.lost.cancelled() => return None,
                waited = self.wait(due.clamp(SHORTEST_WAIT, SWEEP_INTERVAL)) => {
                    if let Err(failure) = waited {
                        tracing::info!(error = failure.text(), "the connection that waits for tasks is gone");
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Waits until the list holds something, but not longer than `limit`. Moving the head of a list to its head changes
    /// nothing, and blocks while there is none: <https://redis.io/docs/latest/commands/blmove/>.
    async fn wait(&self, limit: Duration) -> Result<(), Failure> {
        let mut connection = self.waiter.connection.clone();
        let mut wait = redis::cmd("BLMOVE");
        wait.arg(keys::READY).arg(keys::READY).arg("LEFT").arg("LEFT").arg(limit.as_secs_f64());
        let patience = limit + self.link.settings.timeout;
        within(patience, wait.query_async::<Option<Bytes>>(&mut connection)).await.map(drop)
    }

    /// Takes the next task, if there is one.
    async fn try_take(self: &Arc<Self>, has_waited: bool) -> Result<Found, Failure> {
        let settings = &self.link.settings;
        let (owner, fresh_id) = (Ulid::generate().to_string(), Ulid::generate().to_string());
        let milliseconds = settings.lease_milliseconds();
        let sweep = if has_waited || self.is_time_to_sweep() { "1" } else { "0" };
        let arguments = [owner.as_bytes(), milliseconds.as_bytes(), fresh_id.as_bytes(), sweep.as_bytes()];
        let asked = Instant::now();
        let answer = self.link.ask(settings.timeout, async |mut connection| {
            run::<Vec<Value>>(&settings.scripts.take, &mut connection, &[], &arguments).await
        });
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(failure) => {
                // The task may have been taken although we do not know which.
                let (link, until) = (self.link.clone(), asked + 2 * settings.lease_time);
                let returning = settings.returning.token();
                tokio::spawn(async move {
                    give_back(&link, &owner, until).await;
                    drop(returning);
                });
                return Err(failure);
            }
        };
        let mut answer = answer.into_iter();
        match (answer.next(), answer.next()) {
            (Some(Value::BulkString(item)), _) => {
                Ok(Found::Task(Box::new(self.hold(item.into(), owner, asked))))
            }
            (_, Some(Value::Int(due))) => {
                Ok(Found::Nothing(u64::try_from(due).ok().map(Duration::from_millis)))
            }
            _ => Ok(Found::Nothing(None)),
        }
    }

    fn hold(&self, item: Bytes, owner: String, asked: Instant) -> Taken {
        let envelope = Envelope::open(&item);
        let claim = Claim { id: envelope.id.clone().unwrap_or_default(), owner, item };
        let (keeper, grip) = Keeper::start(self.link.clone(), Some(claim), asked, self.gone.clone());
        Taken { keeper, grip, envelope }
    }

    fn is_time_to_sweep(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = swept.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL);
        if is_time {
            *swept = Some(Instant::now());
        }
        is_time
    }

    fn deliver(&self, taken: Taken, turn: OwnedSemaphorePermit) -> Delivery {
        let Taken { keeper, grip, envelope } = taken;
        let info = envelope.header.info();
        let settle = RedisSettle {
            keeper,
            grip: Some(grip),
            header: envelope.header,
            tiers: self.tiers.clone(),
            _turn: turn,
        };
        Delivery::new(envelope.body, info, Box::new(settle))
    }
}

#[async_trait]
impl Consumer for RedisConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let subscription = self.subscription.clone();
        if subscription.stopping.is_cancelled() || subscription.first.lost.is_cancelled() {
            return None;
        }
        // Cancel-safe: a permit that is given up goes back.
        let turn = tokio::select! {
            turn = self.turn.clone().acquire_owned() => turn.ok()?,
            () = subscription.first.lost.cancelled() => return None,
        };
        // It stays in its place until it is done, however often it is given up.
        let taking = self.taking.get_or_insert_with(|| subscription.clone().take().boxed());
        let taken = taking.await;
        self.taking = None;
        taken.map(|taken| subscription.deliver(taken, turn))
    }

    async fn stop(&mut self) {
        self.subscription.stopping.cancel();
        // What was taken but not yet asked for goes back without counting.
        if let Some(taking) = self.taking.take()
            && let Some(Taken { keeper, grip, .. }) = taking.await
        {
            drop(grip);
            let limit = self.subscription.link.settings.timeout;
            if tokio::time::timeout(limit, keeper.over.cancelled()).await.is_err() {
                tracing::warn!("a task was not given back yet; its lease ends by itself");
            }
        }
    }
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        self.subscription.gone.cancel();
        if let Some(taking) = self.taking.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // It ends soon, and what it may have taken goes back.
            runtime.spawn(taking);
        }
    }
}
