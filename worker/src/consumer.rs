//! From the queue to a settled delivery. Only this module settles.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jira_agent::domain::{EventKind, Outcome, Task, TaskBody};
use jira_agent::queue::tiers::Tiers;
use jira_agent::queue::{Consumer, Counts, Death, Delivery, QueueError, Retry, Settled, TaskQueue};
use jira_agent::retry::{RetryPolicy, Waits};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crash;
use crate::failure::{self, Disposition, Permanent, Transient};
use crate::pipeline::{self, Attempt};
use crate::run_log::{Observer, RunLog};
use crate::services::Services;
use crate::steps::claim::LeaseSource;
use crate::steps::report;

/// Rate limits are waited for without using up attempts, but not for ever.
const FREE_WAITING: SignedDuration = SignedDuration::from_hours(24);

/// A task that comes back this often without having been settled is not tried again: it kills its workers. Below the
/// broker's own limit, which would drop it into the dead-letter queue without a word to the ticket.
const CRASH_LIMIT: u32 = 10;

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

/// A worker on a queue.
pub struct Worker {
    services: Arc<Services>,
    queue: Arc<dyn TaskQueue>,
    tiers: Tiers,
    shutdown: CancellationToken,
    observer: Option<Observer>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    /// A task was settled.
    Settled,
    /// The message was put in order, or the connection went away: there is more to do.
    GoOn,
}

impl Worker {
    /// A worker that stops when `shutdown` is cancelled.
    #[must_use]
    pub fn new(services: Arc<Services>, queue: Arc<dyn TaskQueue>, shutdown: CancellationToken) -> Self {
        let tiers = Tiers::new(&services.config.queue.retry_delays);
        Self { services, queue, tiers, shutdown, observer: None }
    }

    /// Shows every event to `observer` as well.
    #[must_use]
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
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
                    let (stopped, settled) = self.drain(consumer.as_mut(), until, &mut idle_since).await;
                    if let Some(stopped) = stopped {
                        return Ok(stopped);
                    }
                    if settled {
                        waits.reset();
                    }
                    tracing::warn!("the connection to the queue is gone; connecting again");
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
                () = tokio::time::sleep(waits.next_wait()) => {}
                () = self.shutdown.cancelled() => {}
                () = at(until.idle.map(|idle| idle_since + idle)) => {}
            }
        }
    }

    /// Takes deliveries until there is a reason to stop, or `None` when the connection is gone; and whether any was
    /// settled.
    async fn drain(
        &self,
        consumer: &mut dyn Consumer,
        until: Until,
        idle_since: &mut Instant,
    ) -> (Option<Stopped>, bool) {
        let mut settled = false;
        loop {
            let idle_at = until.idle.map(|idle| *idle_since + idle);
            // Cancel-safe: `next` is by its contract, and a delivery it has taken is returned by it.
            let delivery = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    consumer.stop().await;
                    return (Some(Stopped::Shutdown), settled);
                }
                delivery = consumer.next() => match delivery {
                    Some(delivery) => delivery,
                    None => return (None, settled),
                },
                () = at(idle_at) => {
                    consumer.stop().await;
                    return (Some(Stopped::Idle), settled);
                }
            };
            if self.handle(consumer, delivery, until).await == Handled::Settled {
                settled = true;
                if until.once {
                    consumer.stop().await;
                    return (Some(Stopped::Once), settled);
                }
            }
            // A run that its connection did not survive was no idle time either.
            *idle_since = Instant::now();
        }
    }

    /// Carries one delivery to its settlement.
    async fn handle(&self, consumer: &mut dyn Consumer, delivery: Delivery, until: Until) -> Handled {
        crash::point("consume:received");
        let body = match TaskBody::parse(&delivery.body) {
            Ok(body) => body,
            Err(reason) => {
                tracing::error!(%reason, "a message is not a task and goes to the dead-letter queue");
                return settled(
                    delivery.dead_letter(&Death::new(reason.to_string())).await,
                    "dead-lettering",
                );
            }
        };
        let mut task = body.task;
        if !body.had_id {
            // Published again with an id first, so that a redelivery is the same run.
            task.requested_at.get_or_insert(delivery.info.first_published.unwrap_or_else(Timestamp::now));
            tracing::info!(run.id = %task.id, ticket.key = %task.ticket, "a task without an id gets one");
            settled(delivery.normalise(&task).await, "normalising");
            return Handled::GoOn;
        }
        if task.requested_at.is_none() {
            task.requested_at = delivery.info.first_published;
        }
        if until.once {
            // One task only: whatever else was delivered meanwhile is for others.
            consumer.stop().await;
        }
        let attempt = delivery.info.attempt;
        let span = tracing::info_span!("run", run.id = %task.id, ticket.key = %task.ticket, attempt);
        let mut work = std::pin::pin!(self.attempt(delivery, task).instrument(span));
        // Cancel-safe: the work goes on below when the shutdown comes first.
        tokio::select! {
            handled = &mut work => handled,
            () = self.shutdown.cancelled() => {
                // Not after the run: the broker would hand out the next task as soon as this one is settled.
                let (handled, ()) = tokio::join!(work, consumer.stop());
                handled
            }
        }
    }

    async fn attempt(&self, delivery: Delivery, task: Task) -> Handled {
        let attempt = delivery.info.attempt;
        let services = &self.services;
        let redactor = services.redactor.clone();
        let mut log = RunLog::new(&task, attempt, redactor, Some(self.queue.clone()), self.observer.clone());
        if delivery.info.delivery_count >= CRASH_LIMIT {
            let died = format!("the worker died {} times over this task", delivery.info.delivery_count);
            return self.fail(delivery, &task, &Permanent(died).into(), &mut log).await;
        }
        let lost = delivery.lost();
        let cancel = lost.child_token();
        let deadline = services.config.worker.run_deadline;
        let result = {
            let lease = LeaseSource::Delivery(&delivery);
            let work = pipeline::run(services, task.clone(), lease, &mut log, &cancel);
            // Cancel-safe: dropping the run stops it between two effects; every effect can be found again.
            tokio::select! {
                biased;
                () = lost.cancelled() => Interrupted::Lost,
                result = work => Interrupted::No(result),
                () = tokio::time::sleep(deadline) => Interrupted::No(Err(too_long(deadline))),
                () = drained(&self.shutdown, services.config.worker.drain_timeout) => Interrupted::Drained,
            }
        };
        cancel.cancel();
        match result {
            // What the run made of a lost connection is not what happened.
            _ if lost.is_cancelled() => {
                tracing::warn!(
                    "the connection to the queue is gone: the run stops, the task will be redelivered"
                );
                Handled::GoOn
            }
            Interrupted::No(Ok(end)) => self.conclude(delivery, end, &mut log).await,
            Interrupted::No(Err(error)) => self.fail(delivery, &task, &error, &mut log).await,
            Interrupted::Lost => Handled::GoOn,
            Interrupted::Drained => {
                let reason = "the worker was shut down before it could finish";
                tracing::warn!("{reason}: the task goes back to the queue");
                let handled = settled(delivery.release(reason).await, "giving back");
                note_retry(&mut log, handled, json!({ "reason": reason })).await;
                handled
            }
        }
    }

    async fn conclude(&self, delivery: Delivery, end: Attempt, log: &mut RunLog) -> Handled {
        match end {
            Attempt::Ended(outcome) => {
                tracing::info!(outcome = outcome.word(), detail = %self.services.redactor.redact(outcome.detail()), "the run ended");
                log.flush().await;
                let handled = settled(delivery.ack().await, "acknowledging");
                crash::point("consume:acked");
                handled
            }
            Attempt::AlreadyEnded => {
                tracing::info!("the run has ended before; the task is acknowledged");
                log.flush().await;
                settled(delivery.ack().await, "acknowledging")
            }
            Attempt::Busy => {
                let reason = "another worker works on this ticket".to_owned();
                let after = self.tiers.nth(delivery.info.waits + 1);
                let data = json!({"reason": reason, "after_s": after.as_secs()});
                let retry = Retry { after, counts: Counts::Wait, reason };
                let handled = settled(delivery.retry(retry).await, "putting off");
                note_retry(log, handled, data).await;
                handled
            }
        }
    }

    async fn fail(
        &self,
        delivery: Delivery,
        task: &Task,
        error: &anyhow::Error,
        log: &mut RunLog,
    ) -> Handled {
        let reason = self.services.redactor.redact(&format!("{error:#}")).into_owned();
        let attempt = delivery.info.attempt;
        match failure::classify(error) {
            Disposition::Retry { after, counts } if self.may_retry(&delivery, counts) => {
                let counts = if counts || is_old(&delivery) { Counts::Attempt } else { Counts::Wait };
                let after = after.unwrap_or_else(|| self.tiers.nth(attempt));
                tracing::warn!(reason, after_s = after.as_secs(), "the attempt failed; the task waits");
                let data = json!({"reason": reason, "after_s": after.as_secs()});
                let handled = settled(delivery.retry(Retry { after, counts, reason }).await, "putting off");
                note_retry(log, handled, data).await;
                handled
            }
            Disposition::Retry { .. } | Disposition::DeadLetter => {
                tracing::error!(reason, "the run failed; the task goes to the dead-letter queue");
                let reason = report::failed(&self.services, task, reason, attempt).await;
                crash::point("consume:told");
                log.record(EventKind::Failed, json!({ "reason": reason })).await;
                log.flush().await;
                let handled = settled(delivery.dead_letter(&Death::new(&reason)).await, "dead-lettering");
                if handled == Handled::Settled {
                    log.record(EventKind::DeadLettered, json!({ "reason": reason })).await;
                    log.flush().await;
                }
                handled
            }
        }
    }

    /// Whether the task may wait for another attempt. A wait that does not count as one is free for a day only.
    fn may_retry(&self, delivery: &Delivery, counts: bool) -> bool {
        let free = !counts && !is_old(delivery);
        free || delivery.info.attempt < self.services.config.worker.max_attempts
    }
}

/// Records that the task waits, once it does.
async fn note_retry(log: &mut RunLog, handled: Handled, data: serde_json::Value) {
    if handled == Handled::Settled {
        log.record(EventKind::Retried, data).await;
        log.flush().await;
    }
}

/// Ends at this moment; never without one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Ends when the time to finish after a shutdown is over.
pub async fn drained(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    tracing::info!(drain_s = drain.as_secs(), "shutting down: the run may finish within this time");
    tokio::time::sleep(drain).await;
}

enum Interrupted {
    No(anyhow::Result<Attempt>),
    Lost,
    Drained,
}

/// Whether the task has been on its way for longer than a service may ask it to wait without counting attempts.
fn is_old(delivery: &Delivery) -> bool {
    let published = delivery.info.first_published;
    published.is_some_and(|published| Timestamp::now().duration_since(published) > FREE_WAITING)
}

fn too_long(deadline: Duration) -> anyhow::Error {
    Transient(format!("the run took longer than worker.run_deadline ({} s)", deadline.as_secs())).into()
}

fn settled(result: Result<Settled, QueueError>, doing: &'static str) -> Handled {
    match result {
        Ok(Settled::Done) => Handled::Settled,
        Ok(Settled::WillBeRedelivered) => {
            tracing::warn!(
                doing,
                "the connection was gone before the task could be settled; it will be redelivered"
            );
            Handled::GoOn
        }
        Err(error) => {
            tracing::error!(doing, %error, "the task could not be settled; it will be redelivered");
            Handled::GoOn
        }
    }
}

/// An outcome's exit code for a single ticket: whether a person has to look.
#[must_use]
pub fn is_success(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::NeedsHuman { .. } | Outcome::Cancelled { .. })
}
