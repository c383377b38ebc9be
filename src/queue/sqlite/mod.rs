//! The embedded queue: one SQLite file on this machine, which any number of its processes use at the same time.
//!
//! Nothing needs a server. A confirmed publish is on the disk; a task that is held belongs to a hand-over with a token,
//! which only its holder can settle; a process that holds something keeps a file locked, so that its death is known at
//! once to the others, and gives signs of life, so that one that hangs loses what it holds after `queue.lease_timeout`.
//!
//! Any program may put a ticket on the queue: `INSERT INTO tasks (body) VALUES ('PROJ-123')`.

mod consume;
mod database;
mod dead;
mod lease;
mod others;
mod owner;
mod place;
mod session;
mod tail;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::tiers::Tiers;
use super::{
    Backlog, Consumer, DeadLetter, EventStream, LeaseKey, LeaseOutcome, OrderStream, QueueError, TaskQueue,
};
use crate::config::QueueConfig;
use crate::domain::{Event, Order, Task, TaskId};
use database::{Database, Trouble};
use session::Session;

pub use place::Place;

/// The queue in a file.
pub struct Sqlite {
    database: Arc<Database>,
    session: Mutex<Option<Arc<Session>>>,
    tiers: Arc<Tiers>,
    lease_timeout: Duration,
    closed: CancellationToken,
}

impl Sqlite {
    /// Opens the file that the settings name, and makes it when it is missing.
    ///
    /// # Errors
    /// When the file cannot be made or written, or is something else's; when others write to it for too long.
    pub async fn connect(config: &QueueConfig) -> Result<Self, QueueError> {
        let database = Database::open(Place::of(config)?, config.timeout).await?;
        Ok(Self {
            database: Arc::new(database),
            session: Mutex::new(None),
            tiers: Arc::new(Tiers::new(&config.retry_delays)),
            lease_timeout: config.lease_timeout,
            closed: CancellationToken::new(),
        })
    }

    /// The session of this process, made anew when it was lost.
    async fn session(&self) -> Result<Arc<Session>, Trouble> {
        let mut session = self.session.lock().await;
        if let Some(session) = session.as_ref().filter(|session| !session.lost.is_cancelled()) {
            return Ok(session.clone());
        }
        let new = Session::start(self.database.clone(), self.lease_timeout).await?;
        *session = Some(new.clone());
        Ok(new)
    }

    /// Tells the consumers of this process at once; those of others look by themselves.
    async fn tell(&self) {
        if let Some(session) = self.session.lock().await.as_ref() {
            session.ready.notify_waiters();
        }
    }

    fn error(&self) -> impl FnOnce(Trouble) -> QueueError + use<'_> {
        |trouble| self.database.error(trouble)
    }
}

#[async_trait]
impl TaskQueue for Sqlite {
    async fn publish(&self, task: &Task) -> Result<(), QueueError> {
        let published = async {
            let mut connection = self.database.writer().await?;
            Ok(tasks::publish(&mut connection, task).await?)
        };
        published.await.map_err(self.error())?;
        self.tell().await;
        Ok(())
    }

    async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
        let session = self.session().await.map_err(self.error())?;
        Ok(Box::new(consume::SqliteConsumer::new(session, self.tiers.clone())))
    }

    async fn emit(&self, event: &Event) -> Result<(), QueueError> {
        let mut connection = self.database.writer().await?;
        tail::emit(&mut connection, event).await.map_err(self.error())
    }

    async fn follow(&self, runs: &[TaskId]) -> Result<EventStream, QueueError> {
        let runs = runs.to_vec();
        let events = tail::EVENTS.follow::<Event>(&self.database, self.closed.child_token()).await;
        let events = events.map_err(self.error())?;
        Ok(Box::pin(events.filter(move |event| std::future::ready(runs.contains(&event.run)))))
    }

    async fn order(&self, order: &Order) -> Result<(), QueueError> {
        let mut connection = self.database.writer().await?;
        tail::order(&mut connection, order).await.map_err(self.error())
    }

    async fn orders(&self) -> Result<OrderStream, QueueError> {
        let orders = tail::ORDERS.follow::<Order>(&self.database, self.closed.child_token()).await;
        Ok(Box::pin(orders.map_err(self.error())?))
    }

    async fn backlog(&self) -> Result<Backlog, QueueError> {
        let mut connection = self.database.writer().await?;
        tasks::backlog(&mut connection).await.map_err(|error| self.database.error(error.into()))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut connection = self.database.writer().await?;
        dead::list(&mut connection, limit).await.map_err(|error| self.database.error(error.into()))
    }

    async fn replay(&self, letter: &str, by: &str) -> Result<bool, QueueError> {
        let replayed = async {
            let mut connection = self.database.writer().await?;
            Ok(dead::replay(&mut connection, letter, by).await?)
        };
        let replayed = replayed.await.map_err(self.error())?;
        self.tell().await;
        Ok(replayed)
    }

    async fn discard(&self, letter: &str) -> Result<bool, QueueError> {
        let mut connection = self.database.writer().await?;
        dead::discard(&mut connection, letter).await.map_err(|error| self.database.error(error.into()))
    }

    async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
        let lease = async {
            let session = self.session().await?;
            lease::take(&session, key, session.lost.child_token()).await
        };
        lease.await.map_err(self.error())
    }

    async fn close(&self) {
        self.closed.cancel();
        if let Some(session) = self.session.lock().await.take()
            && let Err(trouble) = session.leave().await
        {
            let error = self.database.error(trouble);
            tracing::warn!(%error, "what was held could not be given back; it is when this process ends");
        }
        self.database.close().await;
    }
}
