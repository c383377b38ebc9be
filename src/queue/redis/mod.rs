//! Tasks on Redis, 7.0 or newer, or Valkey. A Redis Cluster is not supported.
//!
//! Anything may put a task on the list: `redis-cli RPUSH jira_ticket_queue PROJ-123`. Every step of a task is one script or
//! command, so that it is always in one place: ready, in a worker's hands with a lease, delayed, or dead.
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | ready | processing, with a lease | `take.lua`, by a worker |
//! | processing | gone | `LREM` of the held item, by its holder |
//! | processing | ready, delayed, dead | `settle.lua`, by the holder of the lease |
//! | processing | ready, a death counted | `look.lua`, when the lease has expired, by any worker or publisher |
//! | processing | ready, no death counted | `give_back.lua`, by a holder that lives |
//! | delayed | ready | `look.lua`, when it is due, by any worker or publisher |
//! | dead | ready, gone | `bury.lua`, by people |
//!
//! What is confirmed is as safe as the server's `appendfsync` makes it: with `always` nothing is lost when it dies.

mod connection;
mod consume;
mod dead;
mod envelope;
mod events;
mod hold;
mod inspect;
pub mod keys;
mod lease;
mod look;
mod scripts;
mod settle;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use self::connection::{Failure, Link, Settings};
use self::envelope::Header;
pub use self::inspect::ServerFacts;
use self::look::Looked;
use super::tiers::Tiers;
use super::{
    Backlog, Consumer, DeadLetter, EventStream, LeaseKey, LeaseOutcome, OrderStream, QueueError, TaskQueue,
};
use crate::config::QueueConfig;
use crate::domain::{Event, Order, Task, TaskId};

/// The queue on a Redis.
pub struct Redis {
    settings: Arc<Settings>,
    /// For everything but consuming, following and leases.
    link: Link,
    looked: Looked,
    tiers: Tiers,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("host", &self.settings.host()).finish_non_exhaustive()
    }
}

impl Redis {
    /// Reads the settings. Connections are opened when they are needed, so that a program can start before its
    /// server; `connection_name` is what `CLIENT LIST` shows.
    ///
    /// # Errors
    /// When the address or the certificate file cannot be used.
    pub async fn connect(config: &QueueConfig, connection_name: &str) -> Result<Self, QueueError> {
        let settings = Arc::new(Settings::read(config, connection_name).await?);
        let link = Link::new(settings.clone(), None);
        Ok(Self { settings, link, looked: Looked::default(), tiers: Tiers::new(&config.retry_delays) })
    }

    /// What the server says about itself; and tries every right that a worker needs, on keys that nothing else uses.
    ///
    /// # Errors
    /// When it cannot be reached, or a right is missing.
    pub async fn inspect(&self) -> Result<ServerFacts, QueueError> {
        inspect::inspect(&self.link).await
    }

    /// Puts a task on the list as an item of its own: one that may be there already although we do not know gets no equal.
    async fn push(&self, header: &Header, body: &[u8]) -> Result<(), Failure> {
        let mut push = redis::cmd("RPUSH");
        push.arg(keys::READY).arg(header.seal(body));
        let limit = self.settings.timeout;
        let pushed =
            self.link.ask(limit, async |mut connection| push.query_async::<i64>(&mut connection).await);
        pushed.await.map(drop)
    }
}

#[async_trait]
impl TaskQueue for Redis {
    async fn publish(&self, task: &Task) -> Result<(), QueueError> {
        let (header, body) = (Header::first(task.id.to_string()), task.to_json());
        let pushed = match self.push(&header, &body).await {
            Err(Failure::Lost(why)) => {
                tracing::info!(error = why, "the publishing connection was lost; connecting again");
                self.push(&header, &body).await
            }
            pushed => pushed,
        };
        pushed.map_err(|failure| self.settings.error(failure))?;
        self.looked.now_and_then(&self.link).await;
        Ok(())
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        Ok(Box::new(consume::subscribe(self.settings.clone(), self.tiers.clone()).await?))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        events::emit(&self.link, event).await
    }

    async fn follow(&self, runs: &[TaskId]) -> Result<EventStream, QueueError> {
        events::follow(&self.settings, runs).await
    }

    async fn order(&self, order: &Order) -> Result<(), QueueError> {
        events::order(&self.link, order).await
    }

    async fn orders(&self) -> Result<OrderStream, QueueError> {
        events::orders(&self.settings).await
    }

    async fn backlog(&self) -> Result<Backlog, QueueError> {
        let counts = self.link.ask(self.settings.timeout, async |mut connection| {
            let mut counts = redis::pipe();
            for key in [keys::READY, keys::PROCESSING, keys::WAITING, keys::DEAD] {
                counts.cmd("LLEN").arg(key);
            }
            counts.query_async::<(u64, u64, u64, u64)>(&mut connection).await
        });
        let (ready, held, delayed, dead) = counts.await.map_err(|failure| self.settings.error(failure))?;
        Ok(Backlog { ready, held: Some(held), delayed, dead })
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        dead::list(&self.link, limit).await
    }

    async fn replay(&self, letter: &str, by: &str) -> Result<bool, QueueError> {
        dead::replay(&self.link, letter, by).await
    }

    async fn discard(&self, letter: &str) -> Result<bool, QueueError> {
        dead::discard(&self.link, letter).await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        lease::take_alone(Arc::new(Link::new(self.settings.clone(), None)), key).await
    }

    async fn close(&self) {
        // What was not settled is on its way back; should it not get there, its lease ends by itself.
        self.settings.returning.close();
        let _ = tokio::time::timeout(self.settings.timeout, self.settings.returning.wait()).await;
        self.link.close();
    }
}
