//! Tasks in the file: one function a statement, which is a transaction of its own. A hand-over is known by its token, and
//! only whoever has it settles.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::domain::Task;
use crate::queue::{Backlog, Counters, Death, DeliveryInfo};

/// One hand-over of a task: its row, and the token that fences it.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    number: i64,
    token: String,
}

/// A task that was taken.
pub(super) struct Taken {
    pub(super) hold: Hold,
    pub(super) body: Bytes,
    pub(super) info: DeliveryInfo,
}

const PUBLISH: &str = "INSERT INTO tasks (body, message_id, first_published) VALUES (?, ?, ?)";

const TAKE: &str = "\
    UPDATE tasks SET state = 'held', owner = ?1, token = ?2 \
    WHERE number = (SELECT number FROM tasks WHERE state = 'ready' ORDER BY number LIMIT 1) \
    AND EXISTS (SELECT 1 FROM owners WHERE id = ?1) \
    RETURNING number, CAST(body AS BLOB) AS body, message_id, attempt, waits, crashes, delivery_count, redelivered, \
    first_published, traceparent, replayed_by";

const ACK: &str = "DELETE FROM tasks WHERE number = ?1 AND token = ?2";

/// What every end of a hand-over but the ack changes: nobody holds the task, and its deaths are counted anew.
macro_rules! settle {
    ($changes:literal) => {
        concat!(
            "UPDATE tasks SET owner = NULL, token = NULL, delivery_count = 0, redelivered = 0, ",
            $changes,
            " WHERE number = ?1 AND token = ?2"
        )
    };
}

const RETRY: &str =
    settle!("state = 'delayed', due_at = ?3, attempt = ?4, waits = ?5, crashes = ?6, reason = ?7");
const RELEASE: &str = settle!("state = 'ready', reason = ?3");
const DEAD: &str = settle!("state = 'dead', reason = ?3, step = ?4, died_at = ?5");
const NORMALISE: &str = settle!(
    "state = 'ready', body = ?3, message_id = ?4, attempt = 1, waits = 0, crashes = 0, reason = NULL, replayed_by = NULL, \
     first_published = coalesce(first_published, ?5)"
);

/// Given back without having been settled, by a worker that lives on.
const GIVE_BACK: &str = "\
    UPDATE tasks SET state = 'ready', owner = NULL, token = NULL, redelivered = 1 WHERE number = ?1 AND token = ?2";

/// Taken by a consumer that was given up before it knew.
const TAKE_BACK: &str = "\
    UPDATE tasks SET state = 'ready', owner = NULL, token = NULL WHERE state = 'held' AND owner = ?1 AND token = ?2";

const COME_DUE: &str = "\
    UPDATE tasks INDEXED BY tasks_delayed SET state = 'ready', due_at = NULL WHERE state = 'delayed' AND due_at <= ?";

const BACKLOG: &str = "\
    SELECT (SELECT count(*) FROM tasks WHERE state = 'ready') AS ready, \
    (SELECT count(*) FROM tasks WHERE state = 'held') AS held, \
    (SELECT count(*) FROM tasks WHERE state = 'delayed') AS delayed, \
    (SELECT count(*) FROM tasks WHERE state = 'dead') AS dead";

/// Now, as the file has it: milliseconds since 1970.
pub(super) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

pub(super) async fn publish(connection: &mut SqliteConnection, task: &Task) -> sqlx::Result<()> {
    let publish = sqlx::query(PUBLISH).bind(text(&task.to_json())).bind(task.id.to_string());
    publish.bind(Timestamp::now().to_string()).execute(connection).await?;
    Ok(())
}

/// Takes the oldest task that is ready, for an owner that is known. What is taken while nobody waits for it any more is
/// known by its token.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    owner: &str,
    token: &str,
) -> sqlx::Result<Option<Taken>> {
    // All rows, for a statement is done, and on the disk, only when it has no more.
    let rows = sqlx::query(TAKE).bind(owner).bind(token).fetch_all(connection).await?;
    rows.first().map(|row| taken(row, token.to_owned())).transpose()
}

fn taken(row: &SqliteRow, token: String) -> sqlx::Result<Taken> {
    let hold = Hold { number: row.try_get("number")?, token };
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Taken { hold, body: body.into(), info: info(row)? })
}

/// The counters and headers of a row. Another program may have written what is no time; then there is none.
pub(super) fn info(row: &SqliteRow) -> sqlx::Result<DeliveryInfo> {
    let count =
        |column: &str| Ok::<_, sqlx::Error>(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0));
    let message_id: Option<String> = row.try_get("message_id")?;
    let first_published: Option<String> = row.try_get("first_published")?;
    Ok(DeliveryInfo {
        message_id: message_id.filter(|id| !id.is_empty()),
        attempt: count("attempt")?.max(1),
        waits: count("waits")?,
        crashes: count("crashes")?,
        delivery_count: count("delivery_count")?,
        first_published: first_published.and_then(|text| text.parse().ok()),
        traceparent: row.try_get("traceparent")?,
        redelivered: count("redelivered")? > 0,
        replayed_by: row.try_get("replayed_by")?,
    })
}

/// Every answer below is whether the hand-over was still the one that may settle.
pub(super) async fn ack(connection: &mut SqliteConnection, hold: &Hold) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(ACK).bind(hold.number).bind(&hold.token)).await
}

pub(super) async fn retry(
    connection: &mut SqliteConnection,
    hold: &Hold,
    due_at: i64,
    counters: Counters,
    reason: &str,
) -> sqlx::Result<bool> {
    let query = sqlx::query(RETRY).bind(hold.number).bind(&hold.token).bind(due_at);
    let query = query.bind(counters.attempt).bind(counters.waits).bind(counters.crashes);
    settle(connection, query.bind(reason)).await
}

pub(super) async fn release(
    connection: &mut SqliteConnection,
    hold: &Hold,
    reason: &str,
) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(RELEASE).bind(hold.number).bind(&hold.token).bind(reason)).await
}

pub(super) async fn bury(
    connection: &mut SqliteConnection,
    hold: &Hold,
    death: &Death,
) -> sqlx::Result<bool> {
    let query = sqlx::query(DEAD).bind(hold.number).bind(&hold.token).bind(&death.reason).bind(&death.step);
    settle(connection, query.bind(Timestamp::now().to_string())).await
}

pub(super) async fn normalise(
    connection: &mut SqliteConnection,
    hold: &Hold,
    task: &Task,
) -> sqlx::Result<bool> {
    let query = sqlx::query(NORMALISE).bind(hold.number).bind(&hold.token).bind(text(&task.to_json()));
    settle(connection, query.bind(task.id.to_string()).bind(Timestamp::now().to_string())).await
}

pub(super) async fn give_back(connection: &mut SqliteConnection, hold: &Hold) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(GIVE_BACK).bind(hold.number).bind(&hold.token)).await
}

/// Takes a hand-over back that nobody was told of.
pub(super) async fn take_back(
    connection: &mut SqliteConnection,
    owner: &str,
    token: &str,
) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(TAKE_BACK).bind(owner).bind(token)).await
}

/// Makes ready what has waited long enough.
pub(super) async fn come_due(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(COME_DUE).bind(now())).await
}

pub(super) async fn backlog(connection: &mut SqliteConnection) -> sqlx::Result<Backlog> {
    let row = sqlx::query(BACKLOG).fetch_one(connection).await?;
    let count = |column: &str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)?.cast_unsigned());
    Ok(Backlog {
        ready: count("ready")?,
        held: Some(count("held")?),
        delayed: count("delayed")?,
        dead: count("dead")?,
    })
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// One durable write, which waits for other writers; whether it changed anything. It is done even when nobody waits for
/// it any more.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> sqlx::Result<bool> {
    Ok(statement.execute(connection).await?.rows_affected() > 0)
}

/// JSON as text, which people can read in the file.
fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
