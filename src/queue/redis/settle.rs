//! Settling a delivery: one step each, which does nothing when the delivery is another's by now. A task is never in two
//! places, and never in none. An ack needs no script: an item that went back is never equal to what it was, so taking the
//! held one off the list is the fence.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Link};
use super::envelope::Header;
use super::hold::{Claim, Held};
use super::keys;
use super::lease;
use super::scripts::call;
use crate::domain::Task;
use crate::queue::tiers::Tiers;
use crate::queue::{Death, DeliveryInfo, LeaseKey, LeaseOutcome, QueueError, Retry, Settle, Settled};

/// Between two tries to reach Redis.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// In the order that `settle.lua` expects.
const KEYS: [&str; 6] =
    [keys::PROCESSING, keys::LEASES, keys::READY, keys::DELAYED, keys::WAITING, keys::DEAD];

/// The queue's side of one delivery. What is not settled when it is dropped goes back.
pub(super) struct RedisSettle {
    pub(super) held: Arc<Held>,
    pub(super) header: Header,
    pub(super) tiers: Arc<Tiers>,
    /// The consumer's turn: it takes the next task when this one is settled.
    pub(super) _turn: OwnedSemaphorePermit,
}

impl Drop for RedisSettle {
    fn drop(&mut self) {
        self.held.give_back();
    }
}

/// What becomes of the task; the words are those of `settle.lua`.
enum Onward {
    Nowhere,
    Front(Vec<u8>),
    Back(Vec<u8>),
    Delayed(Vec<u8>, Duration),
    Dead(Vec<u8>),
}

impl RedisSettle {
    /// Asks until there is an answer or the lease may have ended. An answer that was lost on its way is known by the next
    /// one: before the deadline nobody but us can have ended the delivery.
    async fn settle(&self, onward: Onward) -> Result<Settled, QueueError> {
        let Some(deadline) = self.held.begin_to_settle() else {
            return Ok(Settled::WillBeRedelivered);
        };
        let settings = &self.held.link().settings;
        let patience = Instant::now() + 3 * settings.timeout;
        let mut is_asked = false;
        loop {
            match self.ask(&onward).await {
                Ok(ours) => {
                    self.held.settled();
                    let was_ours = is_asked && Instant::now() < deadline;
                    return Ok(if ours || was_ours { Settled::Done } else { Settled::WillBeRedelivered });
                }
                Err(Failure::Lost(why)) if Instant::now() < deadline.min(patience) => {
                    tracing::info!(error = why, "a task could not be settled yet; trying again");
                    is_asked = true;
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Err(Failure::Lost(why)) => {
                    tracing::warn!(error = why, "a task could not be settled");
                    return Ok(Settled::WillBeRedelivered);
                }
                Err(refusal) => return Err(settings.error(refusal)),
            }
        }
    }

    async fn ask(&self, onward: &Onward) -> Result<bool, Failure> {
        let Some(claim) = &self.held.claim else {
            return Ok(false);
        };
        let link = self.held.link();
        let (what, item, delay) = match onward {
            Onward::Nowhere => return forget(link, claim).await,
            Onward::Front(item) => ("front", item, Duration::ZERO),
            Onward::Back(item) => ("back", item, Duration::ZERO),
            Onward::Delayed(item, delay) => ("delay", item, *delay),
            Onward::Dead(item) => ("dead", item, Duration::ZERO),
        };
        let delay = delay.as_millis().to_string();
        let arguments: [&[u8]; 5] =
            [claim.lease.as_bytes(), &claim.item, what.as_bytes(), item, delay.as_bytes()];
        let settings = &link.settings;
        let answer = link.ask(settings.timeout, async |mut connection| {
            call::<i64>(&settings.scripts.settle, &mut connection, &KEYS, &arguments).await
        });
        Ok(answer.await? == 1)
    }
}

/// Takes the item off the list, if it is still there, and the lease with it.
async fn forget(link: &Link, claim: &Claim) -> Result<bool, Failure> {
    let mut both = redis::pipe();
    both.cmd("LREM").arg(keys::PROCESSING).arg(1).arg(claim.item.as_ref());
    both.cmd("HDEL").arg(keys::LEASES).arg(&claim.lease).ignore();
    let answer = link
        .ask(link.settings.timeout, async |mut connection| both.query_async::<(i64,)>(&mut connection).await);
    Ok(answer.await?.0 == 1)
}

#[async_trait]
impl Settle for RedisSettle {
    async fn ack(self: Box<Self>) -> Result<Settled, QueueError> {
        self.settle(Onward::Nowhere).await
    }

    async fn retry(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        retry: Retry,
    ) -> Result<Settled, QueueError> {
        let header = self.header.onward(info.counters_after(&retry), &retry.reason);
        let delay = self.tiers.at_least(retry.after);
        self.settle(Onward::Delayed(header.seal(body), delay)).await
    }

    async fn release(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        reason: &str,
    ) -> Result<Settled, QueueError> {
        let header = self.header.onward(info.counters(), reason);
        self.settle(Onward::Back(header.seal(body))).await
    }

    async fn dead_letter(
        self: Box<Self>,
        body: &Bytes,
        info: &DeliveryInfo,
        death: &Death,
    ) -> Result<Settled, QueueError> {
        let header = self.header.dead(info.counters(), death);
        self.settle(Onward::Dead(header.seal(body))).await
    }

    async fn normalise(self: Box<Self>, info: &DeliveryInfo, task: &Task) -> Result<Settled, QueueError> {
        let header = Header::normalised(task.id.to_string(), info);
        // In front, so that a task does not lose its place by getting an id.
        self.settle(Onward::Front(header.seal(&task.to_json()))).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        lease::take(&self.held, key).await
    }

    fn lost(&self) -> CancellationToken {
        self.held.lost.clone()
    }
}
