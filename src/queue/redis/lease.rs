//! The lease on a ticket: a key with a token that only its holder knows, which Redis drops when nobody renews it.
//! It has no fence: effects guard themselves.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::connection::{Failure, Link};
use super::hold::{Grip, Keeper};
use super::keys;
use crate::queue::{Hold, Lease, LeaseKey, LeaseOutcome, QueueError};

/// Tries to take the lease, to be kept together with what the keeper keeps.
pub(super) async fn take(keeper: &Arc<Keeper>, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let Some((name, token)) = claim(&keeper.link, key).await? else {
        return Ok(LeaseOutcome::Held);
    };
    let lost = keeper.add_ticket(name.clone(), token.clone());
    let hold = RedisHold { keeper: keeper.clone(), name, token, grip: None, released: false };
    Ok(LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold))))
}

/// Tries to take the lease alone.
pub(super) async fn take_alone(link: Arc<Link>, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let asked = Instant::now();
    let Some((name, token)) = claim(&link, key).await? else {
        return Ok(LeaseOutcome::Held);
    };
    let (keeper, grip) = Keeper::start(link, None, asked, CancellationToken::new());
    let lost = keeper.add_ticket(name.clone(), token.clone());
    let hold = RedisHold { keeper, name, token, grip: Some(grip), released: false };
    Ok(LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold))))
}

/// Writes the key, unless there is one. <https://redis.io/docs/latest/commands/set/>
async fn claim(link: &Link, key: &LeaseKey) -> Result<Option<(String, String)>, QueueError> {
    let (name, token) = (keys::lease(key), Ulid::generate().to_string());
    let mut set = redis::cmd("SET");
    set.arg(&name).arg(&token).arg("NX").arg("PX").arg(link.settings.lease_milliseconds());
    let settings = &link.settings;
    let answer = link.ask(settings.timeout, async |mut connection| {
        set.query_async::<Option<String>>(&mut connection).await
    });
    match answer.await {
        Ok(answer) => Ok(answer.map(|_| (name, token))),
        Err(failure) => {
            // It may have been written although we do not know.
            release(link, &name, &token).await;
            Err(settings.error(failure))
        }
    }
}

async fn release(link: &Link, name: &str, token: &str) {
    let settings = &link.settings;
    let released = link.ask(settings.timeout, async |mut connection| {
        settings.scripts.release.key(name).arg(token).invoke_async::<i64>(&mut connection).await
    });
    if let Err(failure) = released.await {
        report(name, &failure);
    }
}

fn report(name: &str, failure: &Failure) {
    tracing::warn!(lease = name, error = failure.text(), "the lease was not given back; it ends by itself");
}

struct RedisHold {
    keeper: Arc<Keeper>,
    name: String,
    token: String,
    /// Of a lease that is kept alone.
    grip: Option<Grip>,
    released: bool,
}

#[async_trait]
impl Hold for RedisHold {
    async fn release(mut self: Box<Self>) {
        self.released = true;
        self.keeper.remove_ticket(&self.token);
        release(&self.keeper.link, &self.name, &self.token).await;
    }
}

impl Drop for RedisHold {
    fn drop(&mut self) {
        self.keeper.remove_ticket(&self.token);
        if let Some(grip) = self.grip.take() {
            grip.settled();
        }
        if !self.released
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (keeper, name, token) = (self.keeper.clone(), self.name.clone(), self.token.clone());
            runtime.spawn(async move { release(&keeper.link, &name, &token).await });
        }
    }
}
