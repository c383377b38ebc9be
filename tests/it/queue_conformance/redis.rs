//! The stage on a real Redis: a database of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::{TaskQueue, connect};
use serde_json::json;
use ulid::Ulid;

use super::stage::{Cannot, LEASE_TIMEOUT, Shown, Stage, Transport};
use super::*;
use crate::redis::server::Server;

behaviours!(tests_on, RedisStage);

const MADE_BY_WRITING: Cannot = Cannot("a list is there as soon as something is put on it");

pub struct RedisStage(Server);

impl Transport for RedisStage {
    const NAME: &'static str = "redis";
    const CANNOT: &'static [(&'static str, Cannot)] =
        &[("a_task_for_a_queue_that_is_gone_is_refused_by_name", MADE_BY_WRITING)];

    async fn open(alone: bool) -> Self {
        Self(if alone { Server::alone().await } else { Server::shared().await })
    }
}

impl RedisStage {
    fn settings(&self) -> QueueConfig {
        holder::settings(QueueKind::Redis, self.0.url().as_str(), None)
    }
}

#[async_trait]
impl Stage for RedisStage {
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
        self.0.push(body).await;
    }

    /// In our own form, for a bare body has no place for it.
    async fn put_traced(&self, body: &[u8], first_published: Timestamp, traceparent: &str) -> Shown {
        let header = json!({"first_published": first_published, "traceparent": traceparent});
        let header = format!("jira-agent/1 {} {header}\n", Ulid::generate());
        self.0.push([header.as_bytes(), body].concat()).await;
        Ok(())
    }

    async fn remove(&self) -> Shown {
        Err(MADE_BY_WRITING)
    }

    async fn nowhere(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        let url = format!("redis://{}/0", nobody_listens().await);
        Ok(connect(&holder::settings(QueueKind::Redis, &url, None), "test").await.unwrap())
    }

    async fn restart(&self) -> Shown {
        self.0.control("restart").await;
        Ok(())
    }
}
