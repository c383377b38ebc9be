//! The Redis that `scripts/lib/redis` started for this run alone.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jira_agent::queue::redis::keys::READY;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use url::Url;

use super::variable;
use crate::proxy::Proxy;

/// How long it may take for one thing.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to stop and start.
const RESTART: Duration = Duration::from_secs(60);

/// The server.
pub struct RedisServer {
    url: Url,
    through_proxy: String,
    control: String,
    proxy: Proxy,
}

impl RedisServer {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let url: Url = variable("JIRA_AGENT_TEST_REDIS_URL")?.parse()?;
        let address = url.socket_addrs(|| Some(6379))?;
        let proxy = Proxy::start(*address.first().context("the server has no address")?).await?;
        let mut through_proxy = url.clone();
        ensure!(through_proxy.set_port(Some(proxy.address().port())).is_ok(), "the address takes no port");
        let control = variable("JIRA_AGENT_TEST_REDIS_CTL")?;
        Ok(Self { url, through_proxy: through_proxy.into(), control, proxy })
    }

    pub(super) fn worker_url(&self) -> &str {
        &self.through_proxy
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(super) async fn restart(&self) -> anyhow::Result<()> {
        self.control("restart").await
    }

    /// SIGKILL, and a new server on the same files: it writes each change to disk before it answers.
    pub(super) async fn kill(&self) -> anyhow::Result<()> {
        self.control("kill").await?;
        self.control("start").await
    }

    async fn control(&self, order: &str) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.control);
        let status = tokio::time::timeout(RESTART, command.arg(order).status()).await??;
        ensure!(status.success(), "`{} {order}` failed: {status}", self.control);
        Ok(())
    }

    /// <https://redis.io/docs/latest/commands/client-kill/>
    pub(super) async fn close_connections(&self) -> anyhow::Result<usize> {
        let kill = async {
            let mut connection = self.connect().await?;
            let closed =
                redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).query_async(&mut connection).await?;
            Ok(closed)
        };
        tokio::time::timeout(TIMEOUT, kill).await?
    }

    pub(super) async fn put(&self, body: &str) -> anyhow::Result<()> {
        let push = async {
            let mut connection = self.connect().await?;
            let _length: u64 = connection.rpush(READY, body).await?;
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, push).await?
    }

    async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        Ok(redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection().await?)
    }
}
