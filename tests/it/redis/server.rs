//! A database of its own for each test on a real Redis, which `scripts/lib/redis start` started.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::redis::Redis;
use jira_agent::secret::Secret;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, ToRedisArgs};
use url::Url;

use crate::broker;

/// As many as `scripts/lib/redis` configures. The first counts, and is nobody's.
const DATABASES: i64 = 4096;

fn setting(name: &str) -> String {
    let value = std::env::var(name);
    value.unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a Redis of their own; run `make test`")
    })
}

fn address(name: &str) -> Url {
    Url::parse(&setting(name)).unwrap()
}

/// One test's part of the server.
pub struct Server {
    database: i64,
    /// Shared by tests that need the server to stay up, exclusive for one that takes it down.
    _lock: File,
}

impl Server {
    /// A part of the server, beside other tests.
    pub async fn shared() -> Self {
        let lock = lock_file();
        lock.lock_shared().unwrap();
        Self::with_lock(lock).await
    }

    /// The server without other tests, to take it down.
    pub async fn alone() -> Self {
        let lock = lock_file();
        lock.lock().unwrap();
        Self::with_lock(lock).await
    }

    async fn with_lock(lock: File) -> Self {
        jira_agent::tls::install_crypto_provider();
        let number: i64 = open(&address("JIRA_AGENT_TEST_REDIS_URL")).await.ask(&["INCR", "databases"]).await;
        let server = Self { database: 1 + number % (DATABASES - 1), _lock: lock };
        server.ask::<()>(&["FLUSHDB"]).await;
        server
    }

    /// The address of this part.
    pub fn url(&self) -> Url {
        let mut url = address("JIRA_AGENT_TEST_REDIS_URL");
        url.set_path(&self.database.to_string());
        url
    }

    /// The same with TLS, and the authority to trust.
    pub fn tls(&self) -> (Url, PathBuf) {
        let mut url = address("JIRA_AGENT_TEST_REDIS_TLS_URL");
        url.set_path(&self.database.to_string());
        (url, setting("JIRA_AGENT_TEST_REDIS_CA_FILE").into())
    }

    /// Settings with short tiers and a lease time of a minute.
    pub fn config(&self) -> QueueConfig {
        QueueConfig {
            kind: QueueKind::Redis,
            retry_delays: [300, 600].map(Duration::from_millis).into(),
            ..broker::config(self.url().as_str())
        }
    }

    /// Settings for another address.
    pub fn config_at(&self, url: &Url) -> QueueConfig {
        QueueConfig { url: Secret::new(url.as_str()), ..self.config() }
    }

    /// A client.
    pub async fn queue(&self) -> Redis {
        Redis::connect(&self.config(), "test").await.unwrap()
    }

    /// A client whose leases are short.
    pub async fn queue_with(&self, lease_timeout: Duration) -> Redis {
        Redis::connect(&QueueConfig { lease_timeout, ..self.config() }, "test").await.unwrap()
    }

    /// A connection to this part.
    pub async fn connection(&self) -> MultiplexedConnection {
        open(&self.url()).await.0
    }

    /// Asks the server as `redis-cli` would.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        open(&self.url()).await.ask(words).await
    }

    /// The names of all keys, but for the one that stays for good.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        keys.retain(|key| key != "jira_ticket_queue:looked");
        keys
    }

    /// Puts a body on the queue as another program would.
    pub async fn push(&self, body: impl AsRef<[u8]>) {
        let words: [&[u8]; 3] = [b"RPUSH", b"jira_ticket_queue", body.as_ref()];
        open(&self.url()).await.ask::<()>(&words).await;
    }

    /// Has the server close the connections that go by the name to this database.
    pub async fn close_connections(&self, name: &str) {
        let list: String = self.ask(&["CLIENT", "LIST"]).await;
        let (name, database) = (format!(" name={name} "), format!(" db={} ", self.database));
        for line in list.lines().filter(|line| line.contains(&name) && line.contains(&database)) {
            let id = line.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap();
            self.ask::<i64>(&["CLIENT", "KILL", "ID", id]).await;
        }
    }

    /// `stop`, `start`, `kill` or `restart` of the whole server; only for a test that has it alone.
    pub async fn control(&self, command: &str) {
        let program = setting("JIRA_AGENT_TEST_REDIS_CTL");
        let status = tokio::process::Command::new(program).arg(command).status().await.unwrap();
        assert!(status.success(), "the server did not {command}");
    }
}

/// A plain connection.
struct Plain(MultiplexedConnection);

async fn open(url: &Url) -> Plain {
    let client = redis::Client::open(url.as_str()).unwrap();
    Plain(client.get_multiplexed_async_connection().await.unwrap())
}

impl Plain {
    async fn ask<T: FromRedisValue>(&mut self, words: &[impl ToRedisArgs]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.0).await.unwrap()
    }
}

fn lock_file() -> File {
    let control = PathBuf::from(setting("JIRA_AGENT_TEST_REDIS_CTL"));
    File::create(control.with_file_name("lock")).unwrap()
}
