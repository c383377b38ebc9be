//! What a worker tells probes and Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jira_agent::status::Status;
use tokio_util::sync::CancellationToken;

use crate::breaker::Position;
use crate::world::World;

/// The state of a process with one or more workers.
pub struct Probe {
    world: Arc<dyn World>,
    consuming: AtomicUsize,
    shutdown: CancellationToken,
}

impl Probe {
    /// Of workers that stop when `shutdown` is cancelled.
    #[must_use]
    pub fn new(world: Arc<dyn World>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { world, consuming: AtomicUsize::new(0), shutdown })
    }

    /// A worker could take a task now, until the guard is dropped: it holds a subscription.
    #[must_use]
    pub fn consuming(self: &Arc<Self>) -> Consuming {
        self.consuming.fetch_add(1, Ordering::Relaxed);
        Consuming(self.clone())
    }
}

/// A subscription on the queue.
pub struct Consuming(Arc<Probe>);

impl Drop for Consuming {
    fn drop(&mut self) {
        self.0.consuming.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Status for Probe {
    fn ready(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("the worker was told to stop".to_owned());
        }
        if self.consuming.load(Ordering::Relaxed) == 0 {
            let why = match self.world.breaker().position() {
                Position::Open => "the model's provider is down: no task is taken until it is asked again",
                Position::Closed | Position::HalfOpen => "there is no connection to the queue",
            };
            return Err(why.to_owned());
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        self.world.metrics().text(self.world.breaker())
    }
}
