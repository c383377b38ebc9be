//! The embedded queue: one file, several processes.

mod kill;
mod place;
mod several;
mod tasks;

use std::path::{Path, PathBuf};

use jira_agent::config::{Config, ConfigSources, QueueConfig};
use jira_agent::domain::Task;
use jira_agent::queue::sqlite::Sqlite;
use jira_agent::queue::{Backlog, Consumer, Delivery, TaskQueue as _};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;

use crate::broker::{SOON, wait_for};
use crate::world::World;

/// A queue's file in a directory of its own.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("queue.db")
    }

    fn config(&self, more: &[(&str, &str)]) -> QueueConfig {
        config(&self.path(), more)
    }

    /// A queue as another process would open it.
    async fn queue(&self) -> Sqlite {
        Sqlite::connect(&self.config(&[])).await.unwrap()
    }

    /// The file as any program sees it.
    async fn plain(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }
}

fn config(path: &Path, more: &[(&str, &str)]) -> QueueConfig {
    let path = path.display().to_string();
    let usual = [
        ("queue.kind", "sqlite"),
        ("queue.path", path.as_str()),
        ("queue.retry_delays", "300ms,600ms"),
        ("queue.lease_timeout", "5s"),
    ];
    let overrides = usual.iter().chain(more).map(|(key, value)| (String::from(*key), String::from(*value)));
    Config::load(ConfigSources { overrides: overrides.collect(), ..ConfigSources::default() }).unwrap().queue
}

fn task() -> Task {
    Task::new("PROJ-1".parse().unwrap())
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    let next = tokio::time::timeout(SOON, consumer.next()).await;
    next.expect("a delivery in time").expect("a delivery")
}

/// Waits until so many tasks are ready, held, delayed and dead.
async fn wait_for_backlog(queue: &Sqlite, counts: [u64; 4]) {
    let [ready, held, delayed, dead] = counts;
    let wanted = Backlog { ready, held: Some(held), delayed, dead };
    wait_for("the backlog", async || (queue.backlog().await.unwrap() == wanted).then_some(())).await;
}

/// The settings with which a process of a world uses the embedded queue.
fn environment(path: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("JIRA_AGENT__QUEUE__KIND", "sqlite".to_owned()),
        ("JIRA_AGENT__QUEUE__PATH", path.display().to_string()),
        ("JIRA_AGENT__QUEUE__LEASE_TIMEOUT", "5s".to_owned()),
        ("JIRA_AGENT__QUEUE__RETRY_DELAYS", "300ms,600ms".to_owned()),
    ]
}

/// A world whose workers use a file.
struct OnFile {
    world: World,
    home: Home,
}

impl OnFile {
    fn of(world: World) -> Self {
        Self { world, home: Home::new() }
    }

    /// The same with further settings.
    fn with<'a>(
        &'a self,
        environment: &'a [(&'static str, String)],
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        environment.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect()
    }

    async fn work(&self, arguments: &[&str], more: &[(&str, &str)]) -> crate::world::Ended {
        let environment = environment(&self.home.path());
        self.world.work(arguments, &self.with(&environment, more)).await
    }

    fn start(&self, arguments: &[&str], more: &[(&str, &str)]) -> (tokio::process::Child, PathBuf) {
        let environment = environment(&self.home.path());
        self.world.start(arguments, &self.with(&environment, more))
    }

    /// Puts a body into the file as the documentation says that any program may.
    async fn insert(&self, body: &str) {
        // Makes the file.
        self.home.queue().await.close().await;
        let mut plain = self.home.plain().await;
        sqlx::query("INSERT INTO tasks (body) VALUES (?)").bind(body).execute(&mut plain).await.unwrap();
    }

    /// One of everything, and nothing left in the file.
    async fn assert_fixed(&self) {
        self.world.assert_fixed().await;
        assert_eq!(
            self.home.queue().await.backlog().await.unwrap(),
            Backlog { held: Some(0), ..Backlog::default() }
        );
    }
}
