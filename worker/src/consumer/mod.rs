//! From the queue to a settled delivery. Only this module settles.

mod delivery;

use std::sync::Arc;
use std::time::Duration;

use jira_agent::domain::Outcome;
use jira_agent::queue::tiers::Tiers;
use jira_agent::queue::{Consumer, QueueError, TaskQueue};
use jira_agent::retry::{RetryPolicy, Waits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::delivery::Handled;
pub use self::delivery::{drained, too_long};
use crate::breaker::{Admission, Permit};
use crate::probe::Probe;
use crate::recall::Listener;
use crate::run_log::Observer;
use crate::world::World;

/// How long a worker runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Until {
    /// Stop after one task was settled.
    pub once: bool,
    /// Stop when nothing was delivered for this long.
    pub idle: Option<Duration>,
}

/// Why the worker stopped by itself or was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to, and gave back or finished what it held.
    Shutdown,
    /// `once`: a task was settled.
    Once,
    /// Nothing to do for the time given.
    Idle,
}

/// Why nothing more is taken from a consumer.
enum End {
    /// The worker stops.
    Stopped(Stopped),
    /// The connection is gone.
    Gone,
    /// The breaker was open; this is the leave to begin again.
    Rested(Permit),
}

/// A worker on a queue.
pub struct Worker {
    world: Arc<dyn World>,
    queue: Arc<dyn TaskQueue>,
    listener: Listener,
    tiers: Tiers,
    shutdown: CancellationToken,
    observer: Option<Observer>,
    probe: Option<Arc<Probe>>,
}

impl Worker {
    /// A worker that stops when `shutdown` is cancelled. It listens to orders from now on, so it is made in a runtime.
    #[must_use]
    pub fn new(world: Arc<dyn World>, queue: Arc<dyn TaskQueue>, shutdown: CancellationToken) -> Self {
        let tiers = Tiers::new(&world.config().queue.retry_delays);
        let listener = Listener::start(queue.clone());
        Self { world, queue, listener, tiers, shutdown, observer: None, probe: None }
    }

    /// Shows every event to `observer` as well.
    #[must_use]
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Tells `probe` when it could take a task.
    #[must_use]
    pub fn probed(mut self, probe: Arc<Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Consumes until it is told to stop. A lost connection is made anew, with growing waits.
    ///
    /// # Errors
    /// When the broker refuses: a wrong password, a queue that is not as it should be; or cannot be reached for as long as
    /// `until.idle`.
    pub async fn run(&self, until: Until) -> Result<Stopped, QueueError> {
        let policy = RetryPolicy {
            first: Duration::from_millis(500),
            cap: Duration::from_secs(10),
            budget: Duration::MAX,
        };
        let mut waits = Waits::new(&policy);
        // Since when there was nothing to do; an unreachable broker has nothing to do either.
        let mut idle_since = Instant::now();
        let mut permit = None;
        loop {
            let idle_at = until.idle.map(|idle| idle_since + idle);
            // Cancel-safe: a connection that is given up holds nothing, and the other branch only waits.
            let consumer = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(Stopped::Shutdown),
                consumer = self.queue.consume() => consumer,
            };
            match consumer {
                Ok(mut consumer) => {
                    tracing::info!("consuming");
                    let (end, settled) =
                        self.drain(consumer.as_mut(), until, &mut idle_since, permit.take()).await;
                    if settled {
                        waits.reset();
                    }
                    match end {
                        End::Stopped(stopped) => return Ok(stopped),
                        End::Gone => {
                            tracing::warn!("the connection to the queue is gone; connecting again");
                        }
                        End::Rested(leave) => {
                            permit = Some(leave);
                            continue;
                        }
                    }
                }
                Err(error @ (QueueError::Unreachable(_) | QueueError::Full(_))) => {
                    // Nothing is delivered either while nobody answers.
                    if idle_at.is_some_and(|at| Instant::now() >= at) {
                        return Err(error);
                    }
                    tracing::warn!(%error, "cannot consume; trying again");
                }
                Err(error) => return Err(error),
            }
            // Cancel-safe: all branches only wait.
            tokio::select! {
                biased;
                () = tokio::time::sleep(waits.next_wait()) => {}
                () = self.shutdown.cancelled() => {}
                () = at(until.idle.map(|idle| idle_since + idle)) => {}
            }
        }
    }

    /// Takes deliveries until there is a reason not to; and whether any was settled.
    async fn drain(
        &self,
        consumer: &mut dyn Consumer,
        until: Until,
        idle_since: &mut Instant,
        mut leave: Option<Permit>,
    ) -> (End, bool) {
        let consuming = self.probe.as_ref().map(Probe::consuming);
        let mut settled = false;
        loop {
            let idle_at = until.idle.map(|idle| *idle_since + idle);
            let permit = leave.take().or_else(|| self.permit());
            // A worker that could do nothing but put tasks off leaves them to others. Of one task the end is asked for.
            let rests = !until.once;
            if permit.is_none() && rests {
                drop(consuming);
                return (self.rest(consumer, idle_at).await, settled);
            }
            // Cancel-safe: `next` is by its contract, and a delivery it has taken is returned by it.
            let delivery = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    consumer.stop().await;
                    return (End::Stopped(Stopped::Shutdown), settled);
                }
                // Another run of this process has met an outage.
                () = self.world.breaker().opened(), if rests => continue,
                delivery = consumer.next() => match delivery {
                    Some(delivery) => delivery,
                    None => return (End::Gone, settled),
                },
                () = at(idle_at) => {
                    consumer.stop().await;
                    return (End::Stopped(Stopped::Idle), settled);
                }
            };
            // Other leave is no longer needed to get in.
            let permit = permit.filter(Permit::is_probe);
            if self.handle(consumer, delivery, until, permit).await == Handled::Settled {
                settled = true;
                if until.once {
                    consumer.stop().await;
                    return (End::Stopped(Stopped::Once), settled);
                }
            }
            // A run that its connection did not survive was no idle time either.
            *idle_since = Instant::now();
        }
    }

    fn permit(&self) -> Option<Permit> {
        match self.world.breaker().admit() {
            Admission::Granted(permit) => Some(permit),
            Admission::Wait(_) => None,
        }
    }

    /// Takes no tasks until the model's provider may be asked again. The consumer is kept meanwhile: other workers may
    /// ask whether this one lives.
    async fn rest(&self, consumer: &mut dyn Consumer, idle_at: Option<Instant>) -> End {
        tracing::info!("no task is taken until the model's provider may be asked again");
        consumer.stop().await;
        // Cancel-safe: all branches only wait.
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => End::Stopped(Stopped::Shutdown),
            permit = self.world.breaker().granted() => End::Rested(permit),
            () = at(idle_at) => End::Stopped(Stopped::Idle),
        }
    }
}

/// Ends at this moment; never without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// An outcome's exit code for a single ticket: whether a person has to look.
#[must_use]
pub fn is_success(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::NeedsHuman { .. } | Outcome::Cancelled { .. })
}
