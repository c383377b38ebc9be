//! From the queue to a settled delivery. Only this module settles.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jira_agent::domain::{CommentMarker, EventKind, Outcome, Task, TaskBody};
use jira_agent::queue::{Consumer, Delivery, QueueError, Retry, Settled, TaskQueue};
use jira_agent::retry::{RetryPolicy, Waits};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crash;
use crate::failure::{self, Disposition, Transient};
use crate::pipeline::{self, Attempt};
use crate::run_log::{Observer, RunLog};
use crate::services::Services;
use crate::steps::claim::LeaseSource;
use crate::text;

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
        Self { services, queue, shutdown, observer: None }
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
    /// When the broker refuses: a wrong password, a queue that is not as it should be.
    pub async fn run(&self, until: Until) -> Result<Stopped, QueueError> {
        let policy = RetryPolicy {
            first: Duration::from_millis(500),
            cap: Duration::from_secs(10),
            budget: Duration::MAX,
        };
        let mut waits = Waits::new(&policy);
        loop {
            if self.shutdown.is_cancelled() {
                return Ok(Stopped::Shutdown);
            }
            match self.queue.consume().await {
                Ok(mut consumer) => {
                    waits.reset();
                    tracing::info!("consuming");
                    if let Some(stopped) = self.drain(consumer.as_mut(), until).await {
                        return Ok(stopped);
                    }
                    tracing::warn!("the connection to the queue is gone; connecting again");
                }
                Err(error @ (QueueError::Unreachable(_) | QueueError::Full(_))) => {
                    tracing::warn!(%error, "cannot consume; trying again");
                }
                Err(error) => return Err(error),
            }
            // Cancel-safe: both branches only wait.
            tokio::select! {
                () = tokio::time::sleep(waits.next_wait()) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Takes deliveries until there is a reason to stop; `None` when the connection is gone.
    async fn drain(&self, consumer: &mut dyn Consumer, until: Until) -> Option<Stopped> {
        loop {
            let idle = async {
                match until.idle {
                    Some(idle) => tokio::time::sleep(idle).await,
                    None => std::future::pending().await,
                }
            };
            // Cancel-safe: `next` is by its contract, and a delivery it has taken is returned by it.
            let delivery = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    consumer.stop().await;
                    return Some(Stopped::Shutdown);
                }
                delivery = consumer.next() => delivery?,
                () = idle => {
                    consumer.stop().await;
                    return Some(Stopped::Idle);
                }
            };
            if self.handle(consumer, delivery, until).await == Handled::Settled && until.once {
                consumer.stop().await;
                return Some(Stopped::Once);
            }
        }
    }

    /// Carries one delivery to its settlement.
    async fn handle(&self, consumer: &mut dyn Consumer, delivery: Delivery, until: Until) -> Handled {
        crash::point("consume:received");
        let body = match TaskBody::parse(&delivery.body) {
            Ok(body) => body,
            Err(reason) => {
                tracing::error!(%reason, "a message is not a task and goes to the dead-letter queue");
                return settled(delivery.dead_letter(&reason.to_string()).await, "dead-lettering");
            }
        };
        let mut task = body.task;
        if !body.had_id {
            // Published again with an id first, so that a redelivery is the same run.
            let asked = delivery.info.first_published.unwrap_or_else(Timestamp::now);
            task.requested_at.get_or_insert(asked);
            tracing::info!(run.id = %task.id, ticket.key = %task.ticket, "a task without an id gets one");
            settled(delivery.normalise(&task).await, "normalising");
            return Handled::GoOn;
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
        let mut log = RunLog::new(
            &task,
            attempt,
            Some(self.queue.clone()),
            self.observer.clone(),
            self.services.redactor.clone(),
        );
        let lost = delivery.lost();
        let cancel = lost.child_token();
        let deadline = self.services.config.worker.run_deadline;
        let result = {
            let work = pipeline::run(
                &self.services,
                task.clone(),
                LeaseSource::Delivery(&delivery),
                &mut log,
                &cancel,
            );
            // Cancel-safe: dropping the run stops it between two effects; every effect can be found again.
            tokio::select! {
                result = work => Interrupted::No(result),
                () = lost.cancelled() => Interrupted::Lost,
                () = tokio::time::sleep(deadline) => Interrupted::No(Err(too_long(deadline))),
                () = self.drained() => Interrupted::Drained,
            }
        };
        cancel.cancel();
        let handled = match result {
            Interrupted::No(Ok(end)) => self.conclude(delivery, end, attempt, &mut log).await,
            Interrupted::No(Err(error)) => self.fail(delivery, &task, &error, &mut log).await,
            Interrupted::Lost => {
                tracing::warn!(
                    "the connection to the queue is gone: the run stops, the task will be redelivered"
                );
                Handled::GoOn
            }
            Interrupted::Drained => {
                tracing::warn!(
                    "the time to finish after the shutdown is over: the task goes back to the queue"
                );
                log.record(EventKind::Retried, json!({"reason": "the worker was shut down"}));
                log.flush().await;
                settled(delivery.release("the worker was shut down").await, "giving back")
            }
        };
        if handled == Handled::Settled {
            log.flush().await;
        }
        handled
    }

    async fn conclude(&self, delivery: Delivery, end: Attempt, attempt: u32, log: &mut RunLog) -> Handled {
        match end {
            Attempt::Ended(outcome) => {
                tracing::info!(outcome = outcome.word(), attempt, "the run ended");
                log.flush().await;
                let handled = settled(delivery.ack().await, "acknowledging");
                crash::point("consume:acked");
                handled
            }
            Attempt::AlreadyEnded => {
                tracing::info!("the run has ended before; the task is acknowledged");
                settled(delivery.ack().await, "acknowledging")
            }
            Attempt::Busy => {
                let reason = "another worker works on this ticket";
                log.record(EventKind::Retried, json!({ "reason": reason }));
                log.flush().await;
                let retry = Retry { after: failure::wait_after(1), counts: false, reason: reason.to_owned() };
                settled(delivery.retry(retry).await, "putting off")
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
            Disposition::Retry { after, counts }
                if !counts || attempt < self.services.config.worker.max_attempts =>
            {
                let after = after.unwrap_or_else(|| failure::wait_after(attempt));
                tracing::warn!(reason, after_s = after.as_secs(), "the attempt failed; the task waits");
                log.record(EventKind::Retried, json!({"reason": reason, "after_s": after.as_secs()}));
                log.flush().await;
                settled(delivery.retry(Retry { after, counts, reason }).await, "putting off")
            }
            Disposition::Retry { .. } | Disposition::DeadLetter => {
                tracing::error!(reason, "the run failed; the task goes to the dead-letter queue");
                let reason = self.tell(task, reason, attempt).await;
                log.record(EventKind::Failed, json!({ "reason": reason }));
                log.flush().await;
                let handled = settled(delivery.dead_letter(&reason).await, "dead-lettering");
                log.record(EventKind::DeadLettered, json!({ "reason": reason }));
                handled
            }
        }
    }

    /// Tells the ticket why its run failed; what cannot be told stands in the reason on the dead-letter queue.
    async fn tell(&self, task: &Task, reason: String, attempts: u32) -> String {
        let comment = text::failure_comment(&reason, attempts, task.id);
        let marker = CommentMarker::new("failure", &task.id.to_string());
        match self.services.tickets.comment(&task.ticket, &marker, &comment).await {
            Ok(()) => reason,
            Err(error) => {
                let why = self.services.redactor.redact(&format!("{error:#}")).into_owned();
                tracing::error!(why, "the ticket could not be told");
                format!("{reason} (the ticket could not be told: {why})")
            }
        }
    }

    /// Ends when the time to finish after a shutdown is over.
    async fn drained(&self) {
        self.shutdown.cancelled().await;
        let drain = self.services.config.worker.drain_timeout;
        tracing::info!(drain_s = drain.as_secs(), "shutting down: the run may finish within this time");
        tokio::time::sleep(drain).await;
    }
}

enum Interrupted {
    No(anyhow::Result<Attempt>),
    Lost,
    Drained,
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
