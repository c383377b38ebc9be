//! The frame of a step: its name, its time, its span.

use std::time::Duration;

use anyhow::Context as _;
use jira_agent::domain::TaskId;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::failure::{InStep, Transient};
use crate::services::Services;
use crate::world::World;

/// A step that only talks to Jira and GitHub takes at most this long; each request has limits of its own (`[http]`).
pub const SERVICES: Duration = Duration::from_mins(5);
/// A step that only reads and writes files takes at most this long.
pub const READING: Duration = Duration::from_mins(5);

/// A step that asks the model takes at most this long: the question and its repairs, each `model.timeout`.
#[must_use]
pub fn thinking(services: &Services) -> Duration {
    let questions = 1 + services.config.worker.repair_rounds;
    services.config.model.timeout * questions + READING
}

/// Where the steps of a run happen.
pub struct Stage<'run> {
    /// Where its time is counted and its name noted.
    pub world: &'run dyn World,
    /// The run.
    pub run: TaskId,
}

impl Stage<'_> {
    /// Runs a step in a span of its own and within its time, and leaves word that the run has come to it.
    ///
    /// # Errors
    /// What the work could not do, or that it took too long, in the context [`InStep`].
    pub async fn step<T>(
        &self,
        name: &'static str,
        limit: Duration,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.world.note_step(self.run, name);
        let timed = async {
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Transient(format!("it took longer than {} s", limit.as_secs())).into())
            })
        };
        let begun = Instant::now();
        let result = timed.instrument(tracing::info_span!("step", step = name)).await;
        self.world.metrics().step_ended(name, begun.elapsed());
        result.context(InStep(name))
    }
}
