//! A virtual host on the RabbitMQ that `scripts/lib/rabbitmq` started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jira_agent::config::QueueConfig;
use jira_agent::domain::TaskId;
use jira_agent::output::note;
use jira_agent::queue::TaskQueue;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::{TASKS_EXCHANGE, TASKS_QUEUE};
use jira_agent::secret::Secret;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::variable;
use crate::proxy::Proxy;

/// How long the broker may take for one thing.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to stop and start.
const RESTART: Duration = Duration::from_secs(120);

/// The virtual host.
pub struct Rabbit {
    url: Url,
    through_proxy: String,
    management: Url,
    vhost: String,
    control: String,
    proxy: Proxy,
    http: reqwest::Client,
}

impl Rabbit {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut url: Url = variable("JIRA_AGENT_TEST_AMQP_URL")?.parse()?;
        let vhost = format!("chaos-{}", TaskId::generate());
        url.set_path(&vhost);
        let address = url.socket_addrs(|| Some(5672))?;
        let proxy = Proxy::start(*address.first().context("the broker has no address")?).await?;
        let mut through_proxy = url.clone();
        ensure!(
            through_proxy.set_port(Some(proxy.address().port())).is_ok(),
            "{through_proxy} takes no port"
        );
        let rabbit = Self {
            through_proxy: through_proxy.into(),
            management: variable("JIRA_AGENT_TEST_RABBITMQ_MANAGEMENT_URL")?.parse()?,
            control: variable("JIRA_AGENT_TEST_RABBITMQ_CTL")?,
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            url,
            vhost,
            proxy,
        };
        rabbit.api(Method::PUT, &["vhosts", &rabbit.vhost], json!({})).await?;
        let rights = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let user = rabbit.url.username().to_owned();
        rabbit.api(Method::PUT, &["permissions", &rabbit.vhost, &user], rights).await?;
        Ok(rabbit)
    }

    pub(super) fn worker_url(&self) -> &str {
        &self.through_proxy
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(super) async fn queue(&self, mut config: QueueConfig) -> anyhow::Result<Arc<dyn TaskQueue>> {
        config.url = Secret::new(self.url.as_str());
        let queue = RabbitMq::connect(&config, "chaos").await?;
        queue.apply_topology().await?;
        Ok(Arc::new(queue))
    }

    pub(super) async fn restart(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(&self.control);
        let status = tokio::time::timeout(RESTART, command.arg("restart").status()).await??;
        ensure!(status.success(), "the broker did not restart: {status}");
        Ok(())
    }

    /// All but our own. The management API learns of connections with a delay; those it does not know stay.
    pub(super) async fn close_connections(&self) -> anyhow::Result<usize> {
        let list = self.api(Method::GET, &["vhosts", &self.vhost, "connections"], Value::Null).await?;
        let mut closed = 0;
        for connection in list.as_array().into_iter().flatten() {
            let is_ours = connection["client_properties"]["connection_name"]
                .as_str()
                .is_none_or(|name| name.contains("chaos"));
            if let (false, Some(name)) = (is_ours, connection["name"].as_str()) {
                // One that is just ending by itself answers 500; if none can be closed, the verdict says so.
                match self.api(Method::DELETE, &["connections", name], Value::Null).await {
                    Ok(_) => closed += 1,
                    Err(error) => note(&format!("chaos: a connection was not closed: {error:#}")),
                }
            }
        }
        Ok(closed)
    }

    pub(super) async fn put(&self, body: &str) -> anyhow::Result<()> {
        let put = async {
            let connection = Connection::connect(self.url.as_str(), ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, key) = (TASKS_EXCHANGE.into(), TASKS_QUEUE.into());
            let properties = BasicProperties::default().with_delivery_mode(2);
            let publish = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
            let confirmation = publish.await?.await?;
            ensure!(confirmation == Confirmation::Ack(None), "the broker did not take it: {confirmation:?}");
            connection.close(200, "OK".into()).await?;
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, put).await?
    }

    /// <https://www.rabbitmq.com/docs/management#http-api>
    async fn api(&self, method: Method, path: &[&str], body: Value) -> anyhow::Result<Value> {
        let mut url = self.management.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push("api").extend(path);
        }
        let mut request = self.http.request(method.clone(), url);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        let fine = status.is_success() || (method == Method::DELETE && status == StatusCode::NOT_FOUND);
        ensure!(fine, "the management API answers {status} to {method} {path:?}");
        let bytes = response.bytes().await.map_err(reqwest::Error::without_url)?;
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}
