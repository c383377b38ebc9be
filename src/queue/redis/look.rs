//! Looking for delayed tasks that are due, and for leases that have expired: each consumer does it all the time, whether it
//! holds a task or not, and a publisher now and then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Link};
use super::keys;
use super::scripts::call;

/// How often at most one consumer or publisher looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// In the order that `look.lua` expects.
const KEYS: [&str; 6] =
    [keys::READY, keys::PROCESSING, keys::LEASES, keys::DELAYED, keys::WAITING, keys::LOOKED];

/// Looks once.
pub(super) async fn look(link: &Link) -> Result<(), Failure> {
    let settings = &link.settings;
    let arguments = [settings.lease_milliseconds.as_bytes()];
    let looked = link.ask(settings.timeout, async |mut connection| {
        call::<i64>(&settings.scripts.look, &mut connection, &KEYS, &arguments).await
    });
    looked.await.map(drop)
}

/// Looks until the consumer is gone. A look that fails is made up for by the next, or by anybody else's.
pub(super) async fn keep_looking(link: Arc<Link>, gone: CancellationToken) {
    let interval = INTERVAL.min(link.settings.lease_time / 4);
    // Cancel-safe: the branches only wait.
    while tokio::select! {
        () = gone.cancelled() => false,
        () = tokio::time::sleep(interval) => true,
    } {
        if let Err(failure) = look(&link).await {
            tracing::debug!(error = failure.text(), "nobody looked for expired leases");
        }
    }
}

/// When a publisher last looked.
#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<Option<Instant>>);

impl Looked {
    /// Looks, unless it has just done so. The task that was published is safe already.
    pub(super) async fn now_and_then(&self, link: &Link) {
        {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|at| at.elapsed() < INTERVAL) {
                return;
            }
            *last = Some(Instant::now());
        }
        if let Err(failure) = look(link).await {
            tracing::debug!(error = failure.text(), "a publisher could not look for expired leases");
        }
    }
}
