//! The stage of the embedded queue: a file of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::{TaskQueue, connect};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use super::stage::{Cannot, LEASE_TIMEOUT, Shown, Stage, Transport};
use super::*;

behaviours!(tests_on, SqliteStage);

const A_FILE: Cannot = Cannot("it is a file: what is missing is made, and no server stands before it");

pub struct SqliteStage(TempDir);

impl Transport for SqliteStage {
    const NAME: &'static str = "sqlite";
    const CANNOT: &'static [(&'static str, Cannot)] = &[
        ("a_task_for_a_queue_that_is_gone_is_refused_by_name", A_FILE),
        ("a_queue_that_is_not_there_is_unreachable", A_FILE),
        ("a_restart_of_the_server_loses_nothing_and_counts_no_death", A_FILE),
    ];

    async fn open(_alone: bool) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        // What other programs put there needs the file.
        stage.client().await.close().await;
        stage
    }
}

impl SqliteStage {
    fn path(&self) -> PathBuf {
        self.0.path().join("queue.db")
    }

    fn settings(&self) -> QueueConfig {
        holder::settings(QueueKind::Sqlite, "", Some(self.path()))
    }

    async fn plain(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path());
        SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(20))).await.unwrap()
    }
}

#[async_trait]
impl Stage for SqliteStage {
    async fn client(&self) -> Arc<dyn TaskQueue> {
        connect(&self.settings(), "test").await.unwrap()
    }

    fn address(&self) -> Result<QueueConfig, Cannot> {
        Ok(self.settings())
    }

    fn known_dead_within(&self) -> Duration {
        LEASE_TIMEOUT + BUSY
    }

    async fn put(&self, body: &[u8]) {
        let mut plain = self.plain().await;
        sqlx::query("INSERT INTO tasks (body) VALUES (?)").bind(body).execute(&mut plain).await.unwrap();
        plain.close().await.unwrap();
    }

    async fn put_traced(&self, body: &[u8], first_published: Timestamp, traceparent: &str) -> Shown {
        let mut plain = self.plain().await;
        let insert = sqlx::query("INSERT INTO tasks (body, first_published, traceparent) VALUES (?, ?, ?)");
        let insert = insert.bind(body).bind(first_published.to_string()).bind(traceparent);
        insert.execute(&mut plain).await.unwrap();
        plain.close().await.unwrap();
        Ok(())
    }

    async fn remove(&self) -> Shown {
        Err(A_FILE)
    }

    async fn nowhere(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        Err(A_FILE)
    }

    async fn restart(&self) -> Shown {
        Err(A_FILE)
    }
}
