//! The stage of the queue in memory, which claims everything that one process can show.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::QueueConfig;
use jira_agent::queue::TaskQueue;
use jira_agent::queue::memory::MemoryQueue;

use super::stage::{Cannot, Shown, Stage, Transport};
use super::*;

behaviours!(tests_on, MemoryStage);

const ONE_PROCESS: Cannot = Cannot("it lives in one process and dies with it");
const NO_HEADERS: Cannot = Cannot("what other programs put there is a body and nothing else");
const ALWAYS_THERE: Cannot = Cannot("it is there as long as its process");

pub struct MemoryStage(MemoryQueue);

impl Transport for MemoryStage {
    const NAME: &'static str = "memory";
    const CANNOT: &'static [(&'static str, Cannot)] = &[
        ("normalising_keeps_the_trace_and_the_time_of_the_first_publish", NO_HEADERS),
        ("a_dead_holders_lease_is_free_within_the_bound", ONE_PROCESS),
        ("a_dead_holders_task_comes_back_and_its_death_is_counted", ONE_PROCESS),
        ("every_death_is_counted_until_the_task_is_settled", ONE_PROCESS),
        ("a_holder_that_was_frozen_knows_its_loss_and_retries_nothing", ONE_PROCESS),
        ("a_holder_that_was_frozen_cannot_give_back_the_next_holders_lease", ONE_PROCESS),
        ("closing_twice_is_fine_and_leaves_other_processes_alone", ONE_PROCESS),
        ("a_task_for_a_queue_that_is_gone_is_refused_by_name", ALWAYS_THERE),
        ("a_queue_that_is_not_there_is_unreachable", ALWAYS_THERE),
        ("a_restart_of_the_server_loses_nothing_and_counts_no_death", ONE_PROCESS),
    ];

    async fn open(_alone: bool) -> Self {
        Self(MemoryQueue::default())
    }
}

#[async_trait]
impl Stage for MemoryStage {
    async fn client(&self) -> Arc<dyn TaskQueue> {
        Arc::new(self.0.clone())
    }

    async fn process(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        Err(ONE_PROCESS)
    }

    fn address(&self) -> Result<QueueConfig, Cannot> {
        Err(ONE_PROCESS)
    }

    fn lease_timeout(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn known_dead_within(&self) -> Duration {
        Duration::ZERO
    }

    async fn put(&self, body: &[u8]) {
        self.0.publish_body(body.to_vec());
    }

    async fn put_traced(&self, _body: &[u8], _first_published: Timestamp, _traceparent: &str) -> Shown {
        Err(NO_HEADERS)
    }

    async fn remove(&self) -> Shown {
        Err(ALWAYS_THERE)
    }

    async fn nowhere(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        Err(ALWAYS_THERE)
    }

    async fn restart(&self) -> Shown {
        Err(ONE_PROCESS)
    }
}
