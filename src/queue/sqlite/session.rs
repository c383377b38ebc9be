//! A process's time at the queue, as a connection is to a broker: what it holds is its own until the session is lost.
//!
//! A task of its own looks at the file every now and then: whether other processes changed it, whether something has
//! come due, whether another process has died; and says in time that this one lives.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::database::{Database, Trouble, WRITE};
use super::lease::{self, Leases};
use super::others::{Other, Others};
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

/// Between two tries to give something back.
const TRY_AGAIN: Duration = Duration::from_millis(500);
const ENTER: &str = "INSERT INTO owners (id, deadline) VALUES (?, ?)";
const LIVE: &str = "UPDATE owners SET deadline = ?2 WHERE id = ?1";
const LEAVE: &str = "DELETE FROM owners WHERE id = ?";
/// Unless it gave a sign of life meanwhile.
const BURY: &str = "DELETE FROM owners WHERE id = ? AND deadline = ?";
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
    (SELECT min(due_at) FROM tasks INDEXED BY tasks_delayed WHERE state = 'delayed') AS due_at";

/// The session. It ends when `lost` is cancelled; what it held is then for others.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) database: Arc<Database>,
    /// Wakes one consumer a time.
    pub(super) ready: Notify,
    pub(super) lost: CancellationToken,
    pub(super) leases: Leases,
    others: Mutex<Others>,
    owner: Owner,
    lease_timeout: Duration,
}

impl Session {
    /// Waits before what failed is tried again. False: there is no need to, because with the session everything ends that it
    /// holds.
    pub(super) async fn waits_to_try_again(&self, what: &str, trouble: Trouble) -> bool {
        let error = self.database.error(trouble);
        tracing::warn!(%error, "{what} could not be given back yet; trying again");
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = self.lost.cancelled() => false,
            () = tokio::time::sleep(TRY_AGAIN) => true,
        }
    }

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
            leases: Leases::default(),
            others: Mutex::new(Others::new(lease_timeout)),
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
        self.leases.forget();
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

    /// Says that this process lives; false when others have taken it for dead. What is given up before it was its turn
    /// does not happen: nobody waits for a process that believes itself lost.
    async fn live(&self) -> Result<bool, Trouble> {
        let mut connection = self.database.writer().await?;
        let mut transaction = connection.begin_with(WRITE).await?;
        let sign = sqlx::query(LIVE).bind(self.id()).bind(self.deadline());
        let known = tasks::settle(&mut transaction, sign).await?;
        transaction.commit().await?;
        Ok(known)
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
        let other =
            |row: &SqliteRow| Ok(Other { id: row.try_get("id")?, deadline: row.try_get("deadline")? });
        let others = others.iter().map(other).collect::<sqlx::Result<Vec<_>>>()?;
        let silent = {
            let mut known = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            known.silent(&others, Instant::now(), tasks::now())
        };
        if others.is_empty() {
            return Ok(());
        }
        let directory = self.database.place().owners();
        let gone = move |other: &Other| silent.contains(other) || owner::is_dead(&directory, &other.id);
        let dead = blocking(move || others.into_iter().filter(gone).collect::<Vec<_>>()).await?;
        if dead.is_empty() {
            return Ok(());
        }
        self.bury(&dead).await
    }

    async fn bury(&self, dead: &[Other]) -> Result<(), Trouble> {
        let mut connection = self.database.writer().await?;
        let mut transaction = connection.begin_with(WRITE).await?;
        for Other { id, deadline } in dead {
            sqlx::query(BURY).bind(id).bind(deadline).execute(&mut *transaction).await?;
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
            let Some(session) = session.upgrade() else { return };
            if let Err(Lost(why)) = self.tick(&session, &mut sign_at, &mut lives_at).await {
                tracing::warn!(why, "this process has lost what it held at the queue");
                session.lost.cancel();
                break;
            }
        }
        if let Some(session) = session.upgrade() {
            lease::let_go_lost(&session);
        }
    }

    async fn tick(
        &mut self,
        session: &Session,
        sign_at: &mut Option<Instant>,
        lives_at: &mut Instant,
    ) -> Result<(), Lost> {
        let now = Instant::now();
        if now >= self.alive_until {
            return Err(silent(session));
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
                Err(_) => return Err(silent(session)),
            }
        }
        if now >= *lives_at {
            *lives_at = now + LIVES_AGAIN;
            self.bounded(session, session.bury_the_dead()).await;
        }
        // A look, too, may have to wait for others.
        match tokio::time::timeout_at(self.alive_until, self.look(session.id())).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((false, _)))) => return Err(taken_for_dead()),
            Ok(Ok(Some((true, ready)))) => {
                if ready {
                    session.ready.notify_waiters();
                }
            }
            Ok(Err(error)) => self.note(session, error.into()),
            Err(_) => return Err(silent(session)),
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

fn silent(session: &Session) -> Lost {
    let timeout = session.lease_timeout.as_secs();
    Lost(format!("it gave no sign of life for {timeout} s (queue.lease_timeout)"))
}

fn taken_for_dead() -> Lost {
    Lost("another process has taken this one for dead".to_owned())
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::super::place::Place;
    use super::*;
    use crate::config::{Config, ConfigSources};

    const LEASE_TIMEOUT: Duration = Duration::from_secs(1);

    /// A connection to a file of which every look waits until the other one is gone.
    async fn locked(path: &std::path::Path) -> (SqliteConnection, SqliteConnection) {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let options = options.busy_timeout(Duration::from_secs(60));
        let mut locker = options.connect().await.unwrap();
        let reader = options.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (a); BEGIN EXCLUSIVE").execute(&mut locker).await.unwrap();
        (reader, locker)
    }

    #[tokio::test]
    async fn a_look_that_hangs_ends_the_session_when_its_word_has_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::load(ConfigSources::default()).unwrap().queue;
        config.path = Some(dir.path().join("queue.db"));
        let place = Place::of(&config).unwrap();
        let database = Arc::new(Database::open(place, Duration::from_secs(60)).await.unwrap());
        let session = Session::start(database, LEASE_TIMEOUT).await.unwrap();
        let (reader, locker) = locked(&dir.path().join("locked.db")).await;
        let watch = Watch {
            reader,
            file: session.database.place().identity().unwrap(),
            version: None,
            due_at: None,
            alive_until: Instant::now() + LEASE_TIMEOUT,
        };
        let begun = Instant::now();
        tokio::spawn(watch.run(Arc::downgrade(&session), CancellationToken::new()));
        let lost = tokio::time::timeout(LEASE_TIMEOUT * 10, session.lost.cancelled()).await;
        assert!(lost.is_ok(), "it believed in its word after {:?}", begun.elapsed());
        drop(locker);
    }
}
