//! Deliveries out of the file, and how they are settled.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::database::Trouble;
use super::lease;
use super::session::Session;
use super::tasks::{self, Hold, Taken};
use crate::domain::Task;
use crate::queue::tiers::Tiers;
use crate::queue::{
    Consumer, Death, Delivery, DeliveryInfo, LeaseKey, LeaseOutcome, QueueError, Retry, Settle, Settled,
};

/// One consumer of a session.
pub(super) struct SqliteConsumer {
    session: Arc<Session>,
    tiers: Arc<Tiers>,
    /// One delivery at a time: its permit is the delivery's.
    one: Arc<Semaphore>,
    holds: Option<Hold>,
    stopped: bool,
    gone: CancellationToken,
}

impl SqliteConsumer {
    pub(super) fn new(session: Arc<Session>, tiers: Arc<Tiers>) -> Self {
        let gone = session.lost.child_token();
        let one = Arc::new(Semaphore::new(1));
        Self { session, tiers, one, holds: None, stopped: false, gone }
    }

    async fn take(&self) -> Result<Option<Taken>, Trouble> {
        let mut connection = self.session.database.writer().await?;
        let token = Ulid::generate().to_string();
        // Made before the row is changed: the write goes on when `next` is given up.
        let mut untold = Untold { session: &self.session, token: &token, is_told: false };
        let taken = tasks::take(&mut connection, self.session.id(), &token).await;
        untold.is_told = taken.is_ok();
        Ok(taken?)
    }

    fn delivery(&mut self, Taken { hold, body, info }: Taken, permit: OwnedSemaphorePermit) -> Delivery {
        self.holds = Some(hold.clone());
        let settle = SqliteSettle {
            session: self.session.clone(),
            tiers: self.tiers.clone(),
            lost: self.gone.clone(),
            hold: Some(hold),
            _permit: permit,
        };
        Delivery::new(body, info, Box::new(settle))
    }
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            if self.stopped || self.gone.is_cancelled() {
                return None;
            }
            // From before the look, so that nothing that comes meanwhile is missed.
            let session = self.session.clone();
            let ready = session.ready.notified();
            tokio::pin!(ready);
            ready.as_mut().enable();
            // Cancel-safe: a permit that is given up goes back.
            let permit = tokio::select! {
                permit = self.one.clone().acquire_owned() => permit.ok()?,
                () = self.gone.cancelled() => return None,
            };
            match self.take().await {
                Ok(Some(taken)) => return Some(self.delivery(taken, permit)),
                Ok(None) => drop(permit),
                Err(trouble) => {
                    let error = self.session.database.error(trouble);
                    tracing::warn!(%error, "no task could be taken from the queue");
                    return None;
                }
            }
            // Cancel-safe: nothing was taken.
            tokio::select! {
                () = ready => {}
                () = self.gone.cancelled() => return None,
            }
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
    }
}

impl Drop for SqliteConsumer {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(hold) = self.holds.take() {
            give_back(&self.session, Back::Told(hold));
        }
        lease::let_go_lost(&self.session);
    }
}

/// A hand-over that is being written. Its drop takes it back unless its consumer was told.
struct Untold<'a> {
    session: &'a Arc<Session>,
    token: &'a str,
    is_told: bool,
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            give_back(self.session, Back::Untold(self.token.to_owned()));
        }
    }
}

/// What is given back: a delivery, or a hand-over that became none.
enum Back {
    Told(Hold),
    Untold(String),
}

/// Makes a task ready again that a living worker did not settle; nothing happens when it did. Tried until it succeeds: as
/// long as this process lives, nobody else takes the task from it.
fn give_back(session: &Arc<Session>, back: Back) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let session = session.clone();
    runtime.spawn(async move {
        loop {
            let give_back = async {
                let mut connection = session.database.writer().await?;
                Ok::<_, Trouble>(match &back {
                    Back::Told(hold) => tasks::give_back(&mut connection, hold).await?,
                    Back::Untold(token) => tasks::take_back(&mut connection, session.id(), token).await?,
                })
            };
            match give_back.await {
                Ok(true) => return session.ready.notify_waiters(),
                Ok(false) => return,
                Err(trouble) => {
                    if !session.waits_to_try_again("a task", trouble).await {
                        return;
                    }
                }
            }
        }
    });
}

/// The file's side of one delivery.
struct SqliteSettle {
    session: Arc<Session>,
    tiers: Arc<Tiers>,
    lost: CancellationToken,
    /// Taken when the delivery is settled.
    hold: Option<Hold>,
    _permit: OwnedSemaphorePermit,
}

/// One settlement, as a value: it is written in one place.
enum End<'a> {
    Ack,
    Retry(&'a DeliveryInfo, Retry),
    Release(&'a str),
    Dead(&'a DeliveryInfo, &'a Death),
    Normalise(&'a Task),
}

impl SqliteSettle {
    async fn settle(&mut self, end: End<'_>) -> Result<Settled, QueueError> {
        let Some(hold) = self.hold.clone().filter(|_| !self.lost.is_cancelled()) else {
            return Ok(Settled::WillBeRedelivered);
        };
        let ready = matches!(end, End::Release(_) | End::Normalise(_));
        let settled = self.write(&hold, end).await.map_err(|trouble| self.session.database.error(trouble))?;
        self.hold = None;
        if !settled {
            return Ok(Settled::WillBeRedelivered);
        }
        if ready {
            self.session.ready.notify_waiters();
        }
        Ok(Settled::Done)
    }

    async fn write(&self, hold: &Hold, end: End<'_>) -> Result<bool, Trouble> {
        let mut connection = self.session.database.writer().await?;
        let connection = &mut *connection;
        Ok(match end {
            End::Ack => tasks::ack(connection, hold).await?,
            End::Retry(info, retry) => {
                let wait = i64::try_from(self.tiers.at_least(retry.after).as_millis()).unwrap_or(i64::MAX);
                let due_at = tasks::now().saturating_add(wait);
                let counters = info.counters_after(&retry);
                tasks::retry(connection, hold, due_at, counters, &retry.reason).await?
            }
            End::Release(reason) => tasks::release(connection, hold, reason).await?,
            End::Dead(info, death) => tasks::bury(connection, hold, info.crashes, death).await?,
            End::Normalise(task) => tasks::normalise(connection, hold, task).await?,
        })
    }
}

impl Drop for SqliteSettle {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            give_back(&self.session, Back::Told(hold));
        }
    }
}

#[async_trait]
impl Settle for SqliteSettle {
    async fn ack(mut self: Box<Self>) -> Result<Settled, QueueError> {
        self.settle(End::Ack).await
    }

    async fn retry(
        mut self: Box<Self>,
        _body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError> {
        self.settle(End::Retry(info, retry)).await
    }

    async fn release(
        mut self: Box<Self>,
        _body: &Bytes,
        _info: &DeliveryInfo,
        reason: &str,
    ) -> Result<Settled, QueueError> {
        self.settle(End::Release(reason)).await
    }

    async fn dead_letter(
        mut self: Box<Self>,
        _body: &Bytes,
        info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError> {
        self.settle(End::Dead(info, death)).await
    }

    async fn normalise(
        mut self: Box<Self>,
        _info: &DeliveryInfo,
        task: &Task,
    ) -> Result<Settled, QueueError> {
        self.settle(End::Normalise(task)).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        let lease = lease::take(&self.session, key, self.lost.child_token()).await;
        lease.map_err(|trouble| self.session.database.error(trouble))
    }

    fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}
