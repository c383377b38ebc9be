use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::secret::Secret;

/// Which transport carries the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// RabbitMQ 3.10 or newer.
    Rabbitmq,
    /// Redis 7.0 or newer, or Valkey.
    Redis,
    /// A file on this machine.
    Sqlite,
}

impl QueueKind {
    /// What is written so.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Rabbitmq, Self::Redis, Self::Sqlite].into_iter().find(|kind| kind.word() == word)
    }

    /// How it is written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Section `[queue]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// The transport.
    pub kind: QueueKind,
    /// `amqp://user:password@host:5672/vhost` or `amqps://…` for RabbitMQ, `redis://…` or `rediss://…` for Redis; empty:
    /// the transport's usual place on this machine, see [`QueueConfig::address`].
    #[serde(default)]
    pub url: Secret,
    /// The file of the embedded queue; unset: `jira-agent/queue.db` in the user's directory for state.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// How long tasks wait for another attempt: the tiers.
    #[serde(deserialize_with = "duration::list")]
    pub retry_delays: Vec<Duration>,
    /// Redis and the embedded queue: how long a worker that gives no sign of life keeps its task and its lease.
    #[serde(with = "duration")]
    pub lease_timeout: Duration,
    /// The management API, e.g. `http://user:password@host:15672`; empty: not asked.
    #[serde(default)]
    pub management_url: Secret,
    /// A PEM file of certificate authorities to trust besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How often the connection shows that it lives, in whole seconds; the broker takes it for dead after about
    /// three times that.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long to wait for a connection, a declaration or a confirmation.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The broker's limit on how long a delivery may stay unacknowledged (`consumer_timeout`). It must exceed
    /// `worker.run_deadline`.
    #[serde(with = "duration")]
    pub consumer_timeout: Duration,
    /// Whether `worker run` declares the topology when it starts; `false` when an administrator applies it.
    pub declare: bool,
    /// RabbitMQ: whether a queue `agent-tasks` that somebody else has declared is used as it is.
    pub adopt: bool,
}

impl QueueConfig {
    /// The address of the broker: as set, else where it usually is on this machine. It may hold a password.
    #[must_use]
    pub fn address(&self) -> &str {
        match (self.url.expose(), self.kind) {
            ("", QueueKind::Rabbitmq) => "amqp://guest:guest@127.0.0.1:5672/%2f",
            ("", QueueKind::Redis) => "redis://127.0.0.1:6379",
            (url, _) => url,
        }
    }
}
