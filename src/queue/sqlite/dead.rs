//! Dead letters: tasks in the state `dead`.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::database::WRITE;
use super::tasks;
use crate::queue::DeadLetter;

const LIST: &str = "\
    SELECT number, CAST(body AS BLOB) AS body, message_id, attempt, waits, crashes, delivery_count, redelivered, \
    first_published, traceparent, replayed_by, reason, step, died_at FROM tasks WHERE state = 'dead' ORDER BY number LIMIT ?";
/// A letter without an id is known by a digest of its body, which only we can compute.
const CANDIDATES: &str = "\
    SELECT number, CAST(body AS BLOB) AS body, message_id FROM tasks \
    WHERE state = 'dead' AND (message_id = ? OR coalesce(message_id, '') = '') ORDER BY number";
const REPLAY: &str = "\
    UPDATE tasks SET state = 'ready', attempt = 1, waits = 0, crashes = 0, delivery_count = 0, redelivered = 0, \
    first_published = ?2, replayed_by = ?3, reason = NULL, step = NULL, died_at = NULL WHERE number = ?1";
const DISCARD: &str = "DELETE FROM tasks WHERE number = ?";

/// The oldest letters, at most `limit`.
pub(super) async fn list(connection: &mut SqliteConnection, limit: usize) -> sqlx::Result<Vec<DeadLetter>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(LIST).bind(limit).fetch_all(connection).await?;
    rows.iter().map(letter).collect()
}

fn letter(row: &SqliteRow) -> sqlx::Result<DeadLetter> {
    let info = tasks::info(row)?;
    let body = Bytes::from(row.try_get::<Vec<u8>, _>("body")?);
    let died_at: Option<String> = row.try_get("died_at")?;
    Ok(DeadLetter {
        id: DeadLetter::id_of(info.message_id.as_deref(), &body),
        body,
        info,
        reason: row.try_get("reason")?,
        step: row.try_get("step")?,
        died_at: died_at.and_then(|text| text.parse().ok()),
    })
}

/// Makes the letter a ready task again; copies of it go.
pub(super) async fn replay(connection: &mut SqliteConnection, wanted: &str, by: &str) -> sqlx::Result<bool> {
    let mut transaction = connection.begin_with(WRITE).await?;
    let found = find(&mut transaction, wanted).await?;
    let Some((first, copies)) = found.split_first() else {
        return Ok(false);
    };
    let now = Timestamp::now().to_string();
    sqlx::query(REPLAY).bind(first).bind(now).bind(by).execute(&mut *transaction).await?;
    for copy in copies {
        sqlx::query(DISCARD).bind(copy).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Takes the letter away, and copies of it.
pub(super) async fn discard(connection: &mut SqliteConnection, wanted: &str) -> sqlx::Result<bool> {
    let mut transaction = connection.begin_with(WRITE).await?;
    let found = find(&mut transaction, wanted).await?;
    for number in &found {
        sqlx::query(DISCARD).bind(number).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(!found.is_empty())
}

async fn find(connection: &mut SqliteConnection, wanted: &str) -> sqlx::Result<Vec<i64>> {
    let rows = sqlx::query(CANDIDATES).bind(wanted).fetch_all(connection).await?;
    let mut found = Vec::new();
    for row in rows {
        let message_id: Option<String> = row.try_get("message_id")?;
        let body: Vec<u8> = row.try_get("body")?;
        if DeadLetter::id_of(message_id.as_deref(), &body) == wanted {
            found.push(row.try_get("number")?);
        }
    }
    Ok(found)
}
