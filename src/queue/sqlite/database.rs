//! The file, opened: one connection that writes, and others that only look.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::place::{FileIdentity, Place};
use crate::queue::QueueError;

/// Every write begins so: it waits for other writers here, and not when it is half done.
pub(super) const WRITE: &str = "BEGIN IMMEDIATE";

const SCHEMA: &str = include_str!("schema.sql");
/// The version of the schema, in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// Between two tries to open a file that another process is just making.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// Why the database did not do it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// In its own words.
    Sql(sqlx::Error),
    /// In ours.
    Said(QueueError),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<QueueError> for Trouble {
    fn from(error: QueueError) -> Self {
        Self::Said(error)
    }
}

/// The queue's file.
#[derive(Debug)]
pub(super) struct Database {
    place: Place,
    timeout: Duration,
    writer: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    connection: SqliteConnection,
    identity: FileIdentity,
}

impl Database {
    /// Opens the file, and makes it when it is missing. `timeout` is how long a write waits for others.
    pub(super) async fn open(place: Place, timeout: Duration) -> Result<Self, QueueError> {
        let database = Self { place, timeout, writer: Mutex::new(None) };
        drop(database.writer().await?);
        Ok(database)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The one connection that writes, when it is its turn. A file that was put in the place of the opened one is opened
    /// instead: what is written is where others look for it.
    pub(super) async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, QueueError> {
        let mut open = self.writer.lock().await;
        let now = self.place.identity().ok();
        if open.as_ref().is_some_and(|open| Some(open.identity) != now) {
            tracing::warn!(path = %self.place.path().display(), "the queue's file was replaced; opening the new one");
            *open = None;
        }
        if open.is_none() {
            *open = Some(self.make().await?);
        }
        MutexGuard::try_map(open, |open| open.as_mut().map(|open| &mut open.connection))
            .map_err(|_| QueueError::Unreachable("the queue's file is closed".to_owned()))
    }

    /// A further connection, and the file that it looks at.
    pub(super) async fn reader(&self) -> Result<(SqliteConnection, FileIdentity), Trouble> {
        let identity = self.place.identity().map_err(sqlx::Error::Io)?;
        Ok((self.connect().await?, identity))
    }

    /// Closes the connection that writes; the next write opens it again.
    pub(super) async fn close(&self) {
        if let Some(open) = self.writer.lock().await.take()
            && let Err(error) = open.connection.close().await
        {
            tracing::info!(%error, "the queue's file was not closed properly");
        }
    }

    async fn make(&self) -> Result<Open, QueueError> {
        self.place.prepare()?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let made = async {
                let identity = self.place.identity().map_err(sqlx::Error::Io)?;
                let mut connection = self.connect().await?;
                migrate(&mut connection, &self.place).await?;
                Ok::<_, Trouble>(Open { connection, identity })
            };
            match made.await {
                // Whoever makes a database locks it in a way that is not waited for.
                Err(Trouble::Sql(error)) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                made => return made.map_err(|trouble| self.error(trouble)),
            }
        }
    }

    async fn connect(&self) -> sqlx::Result<SqliteConnection> {
        options(self.place.path())
            .journal_mode(SqliteJournalMode::Wal)
            // What was confirmed outlasts a loss of power.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.timeout)
            .connect()
            .await
    }

    /// What went wrong, with the file and what to do.
    pub(super) fn error(&self, trouble: Trouble) -> QueueError {
        let error = match trouble {
            Trouble::Said(error) => return error,
            Trouble::Sql(error) => error,
        };
        let path = self.place.path().display();
        match primary_code(&error) {
            Some(code::BUSY | code::LOCKED) => QueueError::Unreachable(format!(
                "{path}: another process has been writing for {} s (queue.timeout)",
                self.timeout.as_secs()
            )),
            Some(code::FULL) => QueueError::Full(format!("{path}, on a full disk")),
            Some(code::NOT_A_DATABASE | code::CORRUPT) => self.place.unfit(
                "it is damaged, or not a database; move it away, or name another in queue.path",
            ),
            Some(code::READ_ONLY | code::PERMISSION | code::CANNOT_OPEN) => self.place.unfit(&format!(
                "it cannot be written ({error}); make it and its directory writable, or name another in queue.path"
            )),
            _ => QueueError::Unreachable(format!("{path}: {error}")),
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).disable_statement_logging()
}

/// Makes the tables of an empty file.
async fn migrate(connection: &mut SqliteConnection, place: &Place) -> Result<(), Trouble> {
    let version = version(connection).await?;
    if version == VERSION {
        return Ok(());
    }
    let mut transaction = connection.begin_with(WRITE).await?;
    // Another process may have been quicker.
    let version = self::version(&mut transaction).await?;
    if version > VERSION {
        let why = format!(
            "it is of version {version}, and this program knows up to {VERSION}: use the newer jira-agent, or name \
             another file in queue.path"
        );
        return Err(place.unfit(&why).into());
    }
    if version == 0 {
        let tables: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await?;
        if tables > 0 {
            let why = "it is the database of something else; name another file in queue.path";
            return Err(place.unfit(why).into());
        }
        sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
        sqlx::raw_sql("PRAGMA user_version = 1").execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

async fn version(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await
}

/// Result codes: <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const PERMISSION: i32 = 3;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READ_ONLY: i32 = 8;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANNOT_OPEN: i32 = 14;
    pub(super) const NOT_A_DATABASE: i32 = 26;
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

/// The lower byte of the result code: the kind without its details.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}
