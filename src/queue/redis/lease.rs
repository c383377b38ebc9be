//! The lease on a ticket: a key with a token that only its holder knows, which Redis drops when nobody renews it.
//! It has no fence: effects guard themselves.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use ulid::Ulid;

use super::connection::Link;
use super::hold::{Held, Keeper, Ticket};
use super::keys;
use super::scripts::call;
use crate::queue::{Hold, Lease, LeaseKey, LeaseOutcome, QueueError};

/// Tries to take the lease, to be kept together with a delivery.
pub(super) async fn take(held: &Arc<Held>, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let hold = RedisHold::new(held.clone(), key);
    claim(hold, key).await
}

/// Tries to take the lease alone.
pub(super) async fn take_alone(link: Arc<Link>, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let gone = CancellationToken::new();
    let keeper = Keeper::new(link);
    keeper.start(gone.clone());
    let mut hold = RedisHold::new(keeper.hold(None, Instant::now()), key);
    hold.alone = Some(gone.drop_guard());
    claim(hold, key).await
}

/// Writes the key, unless there is one. <https://redis.io/docs/latest/commands/set/>
async fn claim(mut hold: RedisHold, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let settings = &hold.held.link().settings;
    let asked = Instant::now();
    let mut set = redis::cmd("SET");
    set.arg(&hold.ticket.key).arg(&hold.ticket.token).arg("NX").arg("PX").arg(&settings.lease_milliseconds);
    let answer = hold.held.link().ask(settings.timeout, async |mut connection| {
        set.query_async::<Option<String>>(&mut connection).await
    });
    // Without an answer it may have been written although we do not know: the hold gives it back.
    if answer.await.map_err(|failure| settings.error(failure))?.is_none() {
        hold.may_be_ours = false;
        return Ok(LeaseOutcome::Held);
    }
    hold.held.add_ticket(hold.ticket.clone(), asked);
    Ok(LeaseOutcome::Granted(Lease::new(key.clone(), hold.held.lost.clone(), Box::new(hold))))
}

async fn release(link: &Link, ticket: &Ticket) {
    let settings = &link.settings;
    let released = link.ask(settings.timeout, async |mut connection| {
        let (keys, arguments) = ([ticket.key.as_str()], [ticket.token.as_bytes()]);
        call::<i64>(&settings.scripts.release, &mut connection, &keys, &arguments).await
    });
    if let Err(failure) = released.await {
        let error = failure.text();
        tracing::warn!(lease = ticket.key, error, "the lease was not given back; it ends by itself");
    }
}

/// Made before the lease is asked for, so that one which is not waited for is given back too.
struct RedisHold {
    held: Arc<Held>,
    ticket: Arc<Ticket>,
    /// Whether it has to be given back.
    may_be_ours: bool,
    /// Ends the keeper of a lease that is kept alone.
    alone: Option<DropGuard>,
}

impl RedisHold {
    fn new(held: Arc<Held>, key: &LeaseKey) -> Self {
        let ticket = Arc::new(Ticket { key: keys::lease(key), token: Ulid::generate().to_string() });
        Self { held, ticket, may_be_ours: true, alone: None }
    }
}

#[async_trait]
impl Hold for RedisHold {
    async fn release(mut self: Box<Self>) {
        self.held.remove_ticket(&self.ticket);
        release(self.held.link(), &self.ticket).await;
        self.may_be_ours = false;
    }
}

impl Drop for RedisHold {
    fn drop(&mut self) {
        if self.may_be_ours {
            self.held.remove_ticket(&self.ticket);
            let (held, ticket) = (self.held.clone(), self.ticket.clone());
            self.held.spawn(async move { release(held.link(), &ticket).await });
        }
    }
}
