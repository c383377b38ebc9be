//! Consuming, one delivery at a time: one script takes a task and its lease. While there is nothing to take, a connection
//! of its own waits on the list, so that a plain `RPUSH` by anybody is seen at once.

use std::sync::Arc;
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
use super::hold::{Claim, Held, Keeper, give_back_unseen};
use super::keys;
use super::look::{INTERVAL, keep_looking, look};
use super::scripts::call;
use super::settle::RedisSettle;
use crate::queue::tiers::Tiers;
use crate::queue::{Consumer, Delivery, QueueError};

/// The shortest wait on an empty list.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// In the order that `take.lua` expects.
const KEYS: [&str; 4] = [keys::READY, keys::PROCESSING, keys::LEASES, keys::DELAYED];

/// The consumer's connections and what a delivery needs of them.
struct Subscription {
    link: Arc<Link>,
    /// The connection that the consumer began with; its end is the consumer's.
    first: Line,
    /// The connection that waits.
    waiter: Line,
    tiers: Arc<Tiers>,
    keeper: Arc<Keeper>,
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
    held: Arc<Held>,
    envelope: Envelope,
}

/// Opens the two connections.
pub(super) async fn subscribe(settings: Arc<Settings>, tiers: Tiers) -> Result<RedisConsumer, QueueError> {
    let opened = tokio::try_join!(settings.open(), settings.open());
    let (first, waiter) = opened.map_err(|failure| settings.error(failure))?;
    let link = Arc::new(Link::new(settings.clone(), Some(first.clone())));
    // Whether the lists are there to be used shows now and not in the first wait.
    let usable = link.ask(settings.timeout, async |mut connection| {
        redis::cmd("LLEN").arg(keys::READY).query_async::<i64>(&mut connection).await
    });
    usable.await.map_err(|failure| settings.error(failure))?;
    look(&link).await.map_err(|failure| settings.error(failure))?;
    let (keeper, gone) = (Keeper::new(link.clone()), CancellationToken::new());
    keeper.start(gone.clone());
    tokio::spawn(keep_looking(link.clone(), gone.clone()));
    let (tiers, stopping) = (Arc::new(tiers), CancellationToken::new());
    let subscription = Arc::new(Subscription { link, first, waiter, tiers, keeper, stopping, gone });
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
        let mut may_be_due = false;
        while !self.stopping.is_cancelled() && !self.gone.is_cancelled() {
            let due = match self.try_take(may_be_due).await {
                Ok(Found::Task(taken)) => return Some(*taken),
                Ok(Found::Nothing(due)) => due.filter(|due| *due < INTERVAL),
                Err(failure) => {
                    tracing::warn!(error = failure.text(), "no task could be taken");
                    return None;
                }
            };
            may_be_due = due.is_some();
            // Cancel-safe: waiting takes nothing off the list.
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = self.gone.cancelled() => return None,
                () = self.first.lost.cancelled() => return None,
                waited = self.wait(due.unwrap_or(INTERVAL).max(SHORTEST_WAIT)) => {
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
    async fn try_take(&self, may_be_due: bool) -> Result<Found, Failure> {
        if may_be_due {
            look(&self.link).await?;
        }
        let settings = &self.link.settings;
        let owner = Ulid::generate().to_string();
        let arguments = [owner.as_bytes(), settings.lease_milliseconds.as_bytes()];
        let asked = Instant::now();
        let answer = self.link.ask(settings.timeout, async |mut connection| {
            call::<Value>(&settings.scripts.take, &mut connection, &KEYS, &arguments).await
        });
        match answer.await {
            Ok(Value::BulkString(item)) => Ok(Found::Task(Box::new(self.hold(item.into(), &owner, asked)))),
            Ok(Value::Int(due)) => Ok(Found::Nothing(u64::try_from(due).ok().map(Duration::from_millis))),
            Ok(_) => Ok(Found::Nothing(None)),
            Err(failure) => {
                // The task may have been taken although we do not know which.
                tokio::spawn(give_back_unseen(self.link.clone(), owner, asked));
                Err(failure)
            }
        }
    }

    fn hold(&self, item: Bytes, owner: &str, asked: Instant) -> Taken {
        let envelope = Envelope::open(&item);
        let claim = Claim::new(envelope.id.as_deref().unwrap_or_default(), owner, item);
        Taken { held: self.keeper.hold(Some(claim), asked), envelope }
    }

    fn deliver(&self, taken: Taken, turn: OwnedSemaphorePermit) -> Delivery {
        let Taken { held, envelope } = taken;
        let info = envelope.header.info();
        let settle = RedisSettle { held, header: envelope.header, tiers: self.tiers.clone(), _turn: turn };
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
            && let Some(Taken { held, .. }) = taking.await
            && let Some(returning) = held.give_back()
        {
            let limit = self.subscription.link.settings.timeout;
            if tokio::time::timeout(limit, returning).await.is_err() {
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
            runtime.spawn(async move { taking.await.map(|taken| taken.held.give_back()) });
        }
    }
}
