//! A process's time at the queue, as a connection is to a broker: what it holds is its own until the session is lost.
//!
//! A task of its own looks at the file every now and then: whether other processes changed it, whether something has
//! come due, whether another process has died; and says in time that this one lives.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::database::{Database, Trouble, WRITE};
use super::owner::{self, Owner};
use super::place::FileIdentity;
use super::tasks;
use crate::queue::QueueError;

/// Between two looks at the file: `PRAGMA data_version` reads one number from shared memory.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(125);
/// Between two looks whether the other processes live.
const LIVES_AGAIN: Duration = Duration::from_millis(1000);
/// A process says this often within `queue.lease_timeout` that it lives.
const SIGNS_OF_LIFE: u32 = 4;

const ENTER: &str = "INSERT INTO owners (id, deadline) VALUES (?, ?)";
const LIVE: &str = "UPDATE owners SET deadline = ?2 WHERE id = ?1";
const LEAVE: &str = "DELETE FROM owners WHERE id = ?";
const OTHERS: &str = "SELECT id, deadline FROM owners WHERE id <> ?";
/// What nobody holds any more: the death of a worker is counted.
const RETURN_TASKS: &str = "\
    UPDATE tasks SET state = 'ready', owner = NULL, token = NULL, redelivered = 1, delivery_count = delivery_count + 1 \
    WHERE state = 'held' AND owner NOT IN (SELECT id FROM owners)";
const RETURN_LEASES: &str = "DELETE FROM leases WHERE owner NOT IN (SELECT id FROM owners)";
/// What its own holder gives back before it leaves.
const LET_TASKS_GO: &str = "\
    UPDATE tasks SET state = 'ready', owner = NULL, token = NULL, redelivered = 1 WHERE state = 'held' AND owner = ?";
const LET_LEASES_GO: &str = "DELETE FROM leases WHERE owner = ?";
const STATE: &str = "\
    SELECT EXISTS (SELECT 1 FROM owners WHERE id = ?) AS known, \
    EXISTS (SELECT 1 FROM tasks WHERE state = 'ready') AS ready, \
    (SELECT min(due_at) FROM tasks WHERE state = 'delayed') AS due_at";

/// The session. It ends when `lost` is cancelled; what it held is then for others.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) database: Arc<Database>,
    /// Wakes one consumer a time.
    pub(super) ready: Notify,
    pub(super) lost: CancellationToken,
    owner: Owner,
    lease_timeout: Duration,
}

impl Session {
    /// Enters this process as an owner and starts to look after what is held.
    pub(super) async fn start(
        database: Arc<Database>,
        lease_timeout: Duration,
    ) -> Result<Arc<Self>, Trouble> {
        let directory = database.place().owners();
        let owner = blocking(move || Owner::new(&directory)).await?.map_err(sqlx::Error::Io)?;
        let session = Arc::new(Self {
            database,
            ready: Notify::new(),
            lost: CancellationToken::new(),
            owner,
            lease_timeout,
        });
        let alive_until = Instant::now() + lease_timeout;
        {
            let mut connection = session.database.writer().await?;
            let statement = sqlx::query(ENTER).bind(session.id()).bind(session.deadline());
            tasks::settle(&mut connection, statement).await?;
        }
        session.bury_the_dead().await?;
        let (reader, file) = session.database.reader().await?;
        let watch = Watch { reader, file, version: None, due_at: None, alive_until };
        let watched = Arc::downgrade(&session);
        tokio::spawn(watch.run(watched, session.lost.clone()));
        Ok(session)
    }

    pub(super) fn id(&self) -> &str {
        self.owner.id()
    }

    /// Gives everything back, which counts as nobody's death, and leaves.
    pub(super) async fn leave(&self) -> Result<(), Trouble> {
        self.lost.cancel();
        let mut connection = self.database.writer().await?;
        let mut transaction = connection.begin_with(WRITE).await?;
        for statement in [LET_TASKS_GO, LET_LEASES_GO, LEAVE] {
            sqlx::query(statement).bind(self.id()).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    fn deadline(&self) -> i64 {
        tasks::now().saturating_add(i64::try_from(self.lease_timeout.as_millis()).unwrap_or(i64::MAX))
    }

    /// Says that this process lives; false when others have taken it for dead.
    async fn live(&self) -> Result<bool, Trouble> {
        let mut connection = self.database.writer().await?;
        Ok(tasks::settle(&mut connection, sqlx::query(LIVE).bind(self.id()).bind(self.deadline())).await?)
    }

    async fn come_due(&self) -> Result<(), Trouble> {
        let mut connection = self.database.writer().await?;
        if tasks::come_due(&mut connection).await? {
            drop(connection);
            self.ready.notify_waiters();
        }
        Ok(())
    }

    /// Takes from processes that died, or gave no sign of life for too long, what they held.
    pub(super) async fn bury_the_dead(&self) -> Result<(), Trouble> {
        let others = {
            let mut connection = self.database.writer().await?;
            sqlx::query(OTHERS).bind(self.id()).fetch_all(&mut *connection).await?
        };
        if others.is_empty() {
            return Ok(());
        }
        let others = others.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let others = others.collect::<sqlx::Result<Vec<(String, i64)>>>()?;
        let directory = self.database.place().owners();
        let dead = move || {
            let gone =
                |(id, deadline): &(String, i64)| *deadline <= tasks::now() || owner::is_dead(&directory, id);
            others.into_iter().filter(gone).map(|(id, _)| id).collect::<Vec<_>>()
        };
        let dead = blocking(dead).await?;
        if dead.is_empty() {
            return Ok(());
        }
        self.bury(&dead).await
    }

    async fn bury(&self, dead: &[String]) -> Result<(), Trouble> {
        let mut connection = self.database.writer().await?;
        let mut transaction = connection.begin_with(WRITE).await?;
        for id in dead {
            sqlx::query(LEAVE).bind(id).execute(&mut *transaction).await?;
        }
        let returned = sqlx::query(RETURN_TASKS).execute(&mut *transaction).await?.rows_affected();
        sqlx::query(RETURN_LEASES).execute(&mut *transaction).await?;
        transaction.commit().await?;
        drop(connection);
        if returned > 0 {
            tracing::warn!(tasks = returned, "tasks of workers that died are handed out again");
            self.ready.notify_waiters();
        }
        let directory = self.database.place().owners();
        Ok(blocking(move || owner::sweep(&directory)).await?)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueueError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| QueueError::Unreachable("the program is shutting down".to_owned()))
}

/// What looks after a session.
struct Watch {
    reader: SqliteConnection,
    /// The file that the session is in.
    file: FileIdentity,
    /// What `PRAGMA data_version` said last: <https://www.sqlite.org/pragma.html#pragma_data_version>.
    version: Option<i64>,
    /// When the next delayed task comes due, in milliseconds since 1970.
    due_at: Option<i64>,
    /// Others may take over from here on.
    alive_until: Instant,
}

/// The session is lost.
struct Lost(String);

impl Watch {
    /// Until the session is lost, or nobody has it any more.
    async fn run(mut self, session: Weak<Session>, lost: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sign_at, mut lives_at) = (None, Instant::now() + LIVES_AGAIN);
        loop {
            // Cancel-safe: both branches only wait.
            tokio::select! {
                _ = ticks.tick() => {}
                () = lost.cancelled() => break,
            }
            let Some(session) = session.upgrade() else { break };
            if let Err(Lost(why)) = self.tick(&session, &mut sign_at, &mut lives_at).await {
                tracing::warn!(why, "this process has lost what it held at the queue");
                session.lost.cancel();
                break;
            }
        }
        // It wrote nothing, so there is nothing to lose.
        let _ = self.reader.close().await;
    }

    async fn tick(
        &mut self,
        session: &Session,
        sign_at: &mut Option<Instant>,
        lives_at: &mut Instant,
    ) -> Result<(), Lost> {
        let now = Instant::now();
        if now >= self.alive_until {
            let silent = session.lease_timeout.as_secs();
            return Err(Lost(format!("it gave no sign of life for {silent} s (queue.lease_timeout)")));
        }
        if session.database.place().identity().ok() != Some(self.file) {
            return Err(Lost("the queue's file was replaced or removed".to_owned()));
        }
        let pace = session.lease_timeout / SIGNS_OF_LIFE;
        if now >= *sign_at.get_or_insert(now + pace) {
            *sign_at = Some(now + pace.min(LIVES_AGAIN));
            // Whatever it takes, no longer than the word that others have.
            match tokio::time::timeout_at(self.alive_until, session.live()).await {
                Ok(Ok(true)) => {
                    self.alive_until = now + session.lease_timeout;
                    *sign_at = Some(now + pace);
                }
                Ok(Ok(false)) => return Err(taken_for_dead()),
                Ok(Err(trouble)) => self.note(session, trouble),
                Err(_) => return Ok(()),
            }
        }
        if now >= *lives_at {
            *lives_at = now + LIVES_AGAIN;
            self.bounded(session, session.bury_the_dead()).await;
        }
        match self.look(session.id()).await {
            Ok(None) => {}
            Ok(Some((false, _))) => return Err(taken_for_dead()),
            Ok(Some((true, ready))) => {
                if ready {
                    session.ready.notify_waiters();
                }
            }
            Err(error) => self.note(session, error.into()),
        }
        if self.due_at.is_some_and(|due_at| due_at <= tasks::now()) {
            self.due_at = None;
            // The next look reads again what is due then.
            self.version = None;
            self.bounded(session, session.come_due()).await;
        }
        Ok(())
    }

    /// When the file has changed: whether this process is known, and whether a task is ready.
    async fn look(&mut self, owner: &str) -> sqlx::Result<Option<(bool, bool)>> {
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.reader).await?;
        if self.version == Some(version) {
            return Ok(None);
        }
        let row = sqlx::query(STATE).bind(owner).fetch_one(&mut self.reader).await?;
        self.version = Some(version);
        self.due_at = row.try_get("due_at")?;
        Ok(Some((row.try_get("known")?, row.try_get("ready")?)))
    }

    /// A write that waits no longer than this process's word is good.
    async fn bounded(&self, session: &Session, write: impl Future<Output = Result<(), Trouble>>) {
        if let Ok(Err(trouble)) = tokio::time::timeout_at(self.alive_until, write).await {
            self.note(session, trouble);
        }
    }

    /// A failure now is no loss yet: the word is good for a while.
    fn note(&self, session: &Session, trouble: Trouble) {
        let error = session.database.error(trouble);
        tracing::warn!(%error, "the queue's file could not be looked after; trying again");
    }
}

fn taken_for_dead() -> Lost {
    Lost("another process has taken this one for dead".to_owned())
}
