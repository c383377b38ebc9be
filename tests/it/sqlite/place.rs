//! Files that cannot be the queue, and files that are taken away.

use std::time::Duration;

use jira_agent::queue::sqlite::Sqlite;
use jira_agent::queue::{QueueError, Settled, TaskQueue as _};

use super::{Home, config, next, task};
use crate::broker::SOON;

/// Why the file is refused; as a matter of settings, for trying again does not help.
async fn refused(home: &Home) -> String {
    match Sqlite::connect(&home.config(&[])).await.err() {
        Some(QueueError::Settings(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let home = Home::new();
    home.queue().await.close().await;
    let mut plain = home.plain().await;
    sqlx::query("PRAGMA user_version = 99").execute(&mut plain).await.unwrap();
    let why = refused(&home).await;
    for part in ["queue.db", "version 99", "knows up to 1", "queue.path"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut plain).await.unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn what_is_no_queue_is_refused() {
    let home = Home::new();
    std::fs::write(home.path(), "This is a letter to my aunt.\n".repeat(99)).unwrap();
    let why = refused(&home).await;
    assert!(why.contains("not a database") && why.contains("queue.path"), "{why}");
    let home = Home::new();
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(home.path()).create_if_missing(true);
    other = other.foreign_keys(false);
    let mut other = sqlx::ConnectOptions::connect(&other).await.unwrap();
    sqlx::query("CREATE TABLE invoices (id INTEGER)").execute(&mut other).await.unwrap();
    let why = refused(&home).await;
    assert!(why.contains("of something else"), "{why}");
}

#[tokio::test]
async fn a_place_where_nothing_can_be_written_is_named() {
    // In /proc nobody can write, not even root.
    let error = Sqlite::connect(&config("/proc/queue.db".as_ref(), &[])).await.err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, QueueError::Settings(_)) && text.contains("/proc/queue.db"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_taken_away_ends_what_was_held_and_is_made_anew() {
    let home = Home::new();
    let queue = home.queue().await;
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let held = next(&mut consumer).await;
    for name in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        std::fs::remove_file(home.dir.path().join(name)).unwrap();
    }
    let lost = tokio::time::timeout(Duration::from_secs(2), held.lost().cancelled_owned()).await;
    assert!(lost.is_ok(), "it is noticed within 2 s");
    assert!(tokio::time::timeout(SOON, consumer.next()).await.unwrap().is_none());
    assert_eq!(held.ack().await.unwrap(), Settled::WillBeRedelivered);
    let task = task();
    queue.publish(&task).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let new = next(&mut consumer).await;
    assert_eq!(new.info.message_id, Some(task.id.to_string()));
}
