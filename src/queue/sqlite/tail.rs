//! Events and orders: rows that are appended, and read from the end on.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::database::{Database, Trouble, WRITE};
use super::session::LOOK_AGAIN;
use super::tasks;
use crate::domain::{Event, Order};
use crate::queue::QueueError;

/// Orders older than this are for nobody.
const ORDER_LIFE: Duration = Duration::from_mins(1);
/// How many rows a follower reads at once; they wait in memory until they are asked for.
const PAGE: usize = 500;

const EMIT: &str = "INSERT INTO events (body) VALUES (?)";
const FORGET_EVENTS: &str = "DELETE FROM events WHERE number <= ? - 100000";
/// How many events are appended between two times that the oldest go.
const FORGET_EVERY: i64 = 1000;
const ORDER: &str = "INSERT INTO orders (body, at) VALUES (?, ?)";
const FORGET_ORDERS: &str = "DELETE FROM orders WHERE at < ?";

/// A table that is followed.
#[derive(Clone, Copy)]
pub(super) struct Tail {
    newest: &'static str,
    page: &'static str,
}

pub(super) const EVENTS: Tail = Tail {
    newest: "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'",
    page: "SELECT number, body FROM events WHERE number > ? ORDER BY number LIMIT 500",
};
pub(super) const ORDERS: Tail = Tail {
    newest: "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'orders'",
    page: "SELECT number, body FROM orders WHERE number > ? ORDER BY number LIMIT 500",
};

pub(super) async fn emit(connection: &mut SqliteConnection, event: &Event) -> Result<(), Trouble> {
    let body = serde_json::to_string(event).map_err(|error| not_json(&error))?;
    let number = sqlx::query(EMIT).bind(body).execute(&mut *connection).await?.last_insert_rowid();
    if number % FORGET_EVERY == 0 {
        sqlx::query(FORGET_EVENTS).bind(number).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn order(connection: &mut SqliteConnection, order: &Order) -> Result<(), Trouble> {
    let body = serde_json::to_string(order).map_err(|error| not_json(&error))?;
    let now = tasks::now();
    let oldest = now.saturating_sub(i64::try_from(ORDER_LIFE.as_millis()).unwrap_or(i64::MAX));
    let mut transaction = connection.begin_with(WRITE).await?;
    sqlx::query(FORGET_ORDERS).bind(oldest).execute(&mut *transaction).await?;
    sqlx::query(ORDER).bind(body).bind(now).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

fn not_json(error: &serde_json::Error) -> QueueError {
    QueueError::Refused(format!("it is not JSON: {error}"))
}

impl Tail {
    /// What is appended from now on, until the file goes away or `closed` is cancelled. Rows that this version does not
    /// know are left out.
    pub(super) async fn follow<T: DeserializeOwned + Send + 'static>(
        self,
        database: &Arc<Database>,
        closed: CancellationToken,
    ) -> Result<ReceiverStream<T>, Trouble> {
        let (mut reader, file) = database.reader().await?;
        let newest: i64 = sqlx::query_scalar(self.newest).fetch_one(&mut reader).await?;
        let (sender, receiver) = mpsc::channel(PAGE);
        let database = Arc::downgrade(database);
        let follow = async move {
            let mut follower = Follower { tail: self, reader, newest, version: 0 };
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                let here = database.upgrade().is_some_and(|here| here.place().identity().ok() == Some(file));
                if !here || sender.is_closed() {
                    return;
                }
                match follower.rows().await {
                    Ok(rows) => {
                        for row in rows {
                            if sender.send(row).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(error) => return tracing::warn!(%error, "the queue's file cannot be followed"),
                }
            }
        };
        tokio::spawn(async move { closed.run_until_cancelled(follow).await });
        Ok(ReceiverStream::new(receiver))
    }
}

struct Follower {
    tail: Tail,
    reader: SqliteConnection,
    /// The number of the newest row that was seen.
    newest: i64,
    version: i64,
}

impl Follower {
    async fn rows<T: DeserializeOwned>(&mut self) -> sqlx::Result<Vec<T>> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.reader).await?;
        if version == self.version {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(self.tail.page).bind(self.newest).fetch_all(&mut self.reader).await?;
        if rows.len() < PAGE {
            self.version = version;
        }
        let mut known = Vec::with_capacity(rows.len());
        for row in rows {
            self.newest = row.try_get("number")?;
            match serde_json::from_str(row.try_get::<&str, _>("body")?) {
                Ok(body) => known.push(body),
                Err(error) => tracing::info!(%error, "a row that this version does not know"),
            }
        }
        Ok(known)
    }
}
