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
}

/// Section `[queue]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// The transport.
    pub kind: QueueKind,
    /// `amqp://user:password@host:5672/vhost`, or `amqps://…`.
    pub url: Secret,
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
}
