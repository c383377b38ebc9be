//! One delivery, carried to its settlement.

use std::time::Duration;

use jira_agent::config::Config;
use jira_agent::domain::{EventKind, Task, TaskBody};
use jira_agent::queue::{Consumer, Counts, Death, Delivery, QueueError, Retry, Settled};
use jira_agent::routing;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Until, Worker};
use crate::breaker::{Admission, Breaker};
use crate::crash;
use crate::failure::{self, Failure, InStep, Rules, Settlement, Transient};
use crate::pipeline::{self, Attempt};
use crate::run_log::RunLog;
use crate::steps::claim::LeaseSource;
use crate::steps::{self, report};

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handled {
    /// A task was settled.
    Settled,
    /// The message was put in order, or the connection went away: there is more to do.
    GoOn,
}

enum Interrupted {
    No(anyhow::Result<Attempt>),
    Lost,
    TooLong,
    Drained,
}

impl Worker {
    /// Carries one delivery to its settlement.
    pub(super) async fn handle(
        &self,
        consumer: &mut dyn Consumer,
        delivery: Delivery,
        until: Until,
    ) -> Handled {
        crash::point("consume:received");
        let body = match TaskBody::parse(&delivery.body) {
            Ok(body) => body,
            Err(reason) => {
                tracing::error!(%reason, "a message is not a task and goes to the dead-letter queue");
                let death = Death::new(reason.to_string());
                return settled(delivery.dead_letter(&death).await, "dead-lettering");
            }
        };
        let mut task = body.task;
        if !body.had_id {
            // Published again with an id first, so that a redelivery is the same run.
            task.requested_at
                .get_or_insert(delivery.info.first_published.unwrap_or_else(|| self.world.now()));
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
            biased;
            handled = &mut work => handled,
            () = self.shutdown.cancelled() => {
                // Not after the run: the broker would hand out the next task as soon as this one is settled.
                let (handled, ()) = tokio::join!(work, consumer.stop());
                handled
            }
        }
    }

    async fn attempt(&self, delivery: Delivery, task: Task) -> Handled {
        let world = &*self.world;
        let redactor = world.redactor().clone();
        let queue = Some(self.queue.clone());
        let mut log = RunLog::new(&task, delivery.info.attempt, redactor, queue, self.observer.clone());
        if delivery.info.delivery_count >= failure::SUSPICIOUS_RETURNS {
            return self.worker_died(delivery, &task, &mut log).await;
        }
        let _permit = match world.breaker().admit() {
            Admission::Granted(permit) => permit,
            Admission::Wait(after) => {
                let reason = "the model's provider is down; nothing is begun until it answers".to_owned();
                return self.settle(delivery, &task, Failure::Outage(after), reason, &mut log).await;
            }
        };
        let _busy = world.metrics().busy();
        self.note_wait(&delivery);
        let begun = Instant::now();
        let mut recall = self.listener.about(&task);
        let lost = delivery.lost();
        let cancel = lost.child_token();
        let deadline = world.config().worker.run_deadline;
        let (interrupted, step) = {
            let lease = LeaseSource::Delivery(&delivery);
            let work = pipeline::run(world, task.clone(), lease, &mut log, &cancel, &mut recall);
            let mut work = std::pin::pin!(work);
            // Cancel-safe: dropping the run stops it between two effects; every effect can be found again.
            let interrupted = tokio::select! {
                biased;
                () = lost.cancelled() => Interrupted::Lost,
                result = &mut work => Interrupted::No(result),
                () = tokio::time::sleep(deadline) => Interrupted::TooLong,
                () = drained(&self.shutdown, world.config().worker.drain_timeout) => Interrupted::Drained,
            };
            let step = world.last_step(task.id);
            if matches!(interrupted, Interrupted::TooLong | Interrupted::Drained) {
                // Whoever gets the task next should not find its lease held.
                cancel.cancel();
                // Cancel-safe: as above.
                tokio::select! {
                    biased;
                    () = lost.cancelled() => {}
                    _ = tokio::time::timeout(Config::TIME_TO_LET_GO, work) => {}
                }
            }
            // What the run made of a lost connection is not what happened.
            (if lost.is_cancelled() { Interrupted::Lost } else { interrupted }, step)
        };
        world.forget_step(task.id);
        match interrupted {
            Interrupted::Lost => {
                world.metrics().lost();
                tracing::warn!(
                    "the connection to the queue is gone: the run stops, the task will be redelivered"
                );
                Handled::GoOn
            }
            Interrupted::No(Ok(end)) => {
                let handled = self.conclude(delivery, &task, end.clone(), &mut log).await;
                self.note_end(handled, &end, begun.elapsed());
                handled
            }
            Interrupted::No(Err(error)) => self.settle_error(delivery, &task, &error, &mut log).await,
            Interrupted::TooLong => {
                self.settle_error(delivery, &task, &too_long(deadline, step.as_deref()), &mut log).await
            }
            Interrupted::Drained => {
                let reason = "the worker was shut down before it could finish".to_owned();
                self.settle(delivery, &task, Failure::Shutdown, reason, &mut log).await
            }
        }
    }

    /// How long the task has waited for its first delivery.
    fn note_wait(&self, delivery: &Delivery) {
        let info = &delivery.info;
        if let (Some(first), 1, 0) = (info.first_published, info.attempt, info.waits) {
            let wait = self.world.now().duration_since(first);
            self.world.metrics().waited(wait.try_into().unwrap_or_default());
        }
    }

    fn note_end(&self, handled: Handled, end: &Attempt, took: Duration) {
        let outcome = match end {
            Attempt::Ended(outcome) => outcome.word(),
            Attempt::AlreadyEnded => "already_ended",
            Attempt::Busy => return,
        };
        if handled == Handled::Settled {
            self.world.metrics().run_ended(outcome, Some(took));
        }
    }

    async fn conclude(&self, delivery: Delivery, task: &Task, end: Attempt, log: &mut RunLog) -> Handled {
        match end {
            Attempt::Ended(outcome) => {
                let detail = self.world.redactor().redact(outcome.detail());
                tracing::info!(outcome = outcome.word(), detail = %detail, "the run ended");
                log.flush().await;
                let handled = settled(delivery.ack().await, "acknowledging");
                crash::point("consume:acked");
                handled
            }
            Attempt::AlreadyEnded => already_ended(delivery, log).await,
            Attempt::Busy => {
                let reason = "another worker works on this ticket".to_owned();
                self.settle(delivery, task, Failure::LeaseHeld, reason, log).await
            }
        }
    }

    /// A task that came back again and again without having been settled has killed its workers.
    async fn worker_died(&self, delivery: Delivery, task: &Task, log: &mut RunLog) -> Handled {
        let died = delivery.info.crashes + 1;
        let step = self.world.last_step(task.id);
        let at = step.as_ref().map_or_else(String::new, |step| format!(" in step {step}"));
        if died < failure::CRASH_LIMIT {
            let reason = format!("the worker died over this task{at} ({died} of {})", failure::CRASH_LIMIT);
            return self.settle(delivery, task, Failure::WorkerDied, reason, log).await;
        }
        let reason = format!("the worker died {died} times{at}");
        self.bury(delivery, task, Death { reason, step }, log).await
    }

    async fn settle_error(
        &self,
        delivery: Delivery,
        task: &Task,
        error: &anyhow::Error,
        log: &mut RunLog,
    ) -> Handled {
        let reason = self.world.redactor().redact(&format!("{error:#}")).into_owned();
        let failure = failure::classify(error);
        let step = error.downcast_ref::<InStep>().map(|step| step.0.to_owned());
        match self.settlement(failure, &delivery) {
            Settlement::DeadLetter => self.bury(delivery, task, Death { reason, step }, log).await,
            _ => self.settle(delivery, task, failure, reason, log).await,
        }
    }

    fn settlement(&self, failure: Failure, delivery: &Delivery) -> Settlement {
        let max_attempts = self.world.config().worker.max_attempts;
        let rules = Rules { tiers: self.tiers.clone(), max_attempts, now: self.world.now() };
        failure::settlement(failure, &delivery.info, &rules)
    }

    /// Does what the failure table says.
    async fn settle(
        &self,
        delivery: Delivery,
        task: &Task,
        failure: Failure,
        reason: String,
        log: &mut RunLog,
    ) -> Handled {
        match self.settlement(failure, &delivery) {
            Settlement::Retry { after, counts } => {
                let after_s = after.as_secs();
                tracing::warn!(reason, after_s, counts = ?counts, "the task waits for another attempt");
                let data = retry_data(&reason, after, counts, self.world.breaker());
                let handled = settled(delivery.retry(Retry { after, counts, reason }).await, "putting off");
                self.note_return(handled, failure);
                note_retry(log, handled, data).await;
                handled
            }
            Settlement::Release => {
                tracing::warn!(reason, "the task goes back to the queue");
                let handled = settled(delivery.release(&reason).await, "giving back");
                self.note_return(handled, failure);
                note_retry(log, handled, json!({ "reason": reason })).await;
                handled
            }
            Settlement::DeadLetter => self.bury(delivery, task, Death::new(reason), log).await,
        }
    }

    fn note_return(&self, handled: Handled, failure: Failure) {
        if handled == Handled::Settled {
            self.world.metrics().retried(failure.word());
            if failure == Failure::LeaseHeld {
                self.world.metrics().contended();
            }
        }
    }

    /// Tells the ticket why the run failed, then parks the task for people.
    async fn bury(&self, delivery: Delivery, task: &Task, death: Death, log: &mut RunLog) -> Handled {
        let lost = delivery.lost();
        let (world, attempt) = (&*self.world, delivery.info.attempt);
        let telling = async {
            world.forget_step(task.id);
            // The very last effect may have taken hold although its worker died or its answer was lost: then the ticket
            // holds the result, and there is no failure to tell.
            let is_ours = routing::is_ours(&world.config().routes, &task.ticket);
            if is_ours && pipeline::end_before(world, task, log).await.unwrap_or(false) {
                return None;
            }
            tracing::error!(reason = death.reason, "the run failed; the task goes to the dead-letter queue");
            Some(report::failed(world, task, death.reason.clone(), attempt).await)
        };
        // As long as `Config::time_to_end` reckons with: afterwards the broker may take the task away.
        let limit = world.config().time_to_tell();
        let telling = async {
            let told = tokio::time::timeout(limit, telling).await;
            told.unwrap_or_else(|_| {
                Some(report::untold(&death.reason, &format!("it took longer than {limit:?}")))
            })
        };
        // Cancel-safe: telling the ticket again changes nothing.
        let reason = tokio::select! {
            biased;
            () = lost.cancelled() => {
                tracing::warn!("the connection to the queue is gone: another worker decides over the task");
                return Handled::GoOn;
            }
            reason = telling => reason,
        };
        let Some(reason) = reason else {
            return already_ended(delivery, log).await;
        };
        crash::point("consume:told");
        let data = json!({ "reason": reason, "step": death.step });
        log.record(EventKind::Failed, data.clone()).await;
        log.flush().await;
        let death = Death { reason, step: death.step };
        let handled = settled(delivery.dead_letter(&death).await, "dead-lettering");
        if handled == Handled::Settled {
            self.world.metrics().run_ended("failed", None);
            self.world.metrics().died(death.step.as_deref());
            log.record(EventKind::DeadLettered, data).await;
            log.flush().await;
        }
        handled
    }
}

/// Forgets a task whose run has ended before.
async fn already_ended(delivery: Delivery, log: &mut RunLog) -> Handled {
    tracing::info!("the run has ended before; the task is acknowledged");
    log.flush().await;
    settled(delivery.ack().await, "acknowledging")
}

fn retry_data(reason: &str, after: Duration, counts: Counts, breaker: &Breaker) -> Value {
    let counts = match counts {
        Counts::Attempt => "attempt",
        Counts::Wait => "wait",
        Counts::Crash => "crash",
    };
    json!({"reason": reason, "after_s": after.as_secs(), "counts": counts, "breaker": breaker.position()})
}

/// Records that the task waits, once it does.
async fn note_retry(log: &mut RunLog, handled: Handled, data: Value) {
    if handled == Handled::Settled {
        log.record(EventKind::Retried, data).await;
        log.flush().await;
    }
}

/// Ends when the time to finish after a shutdown is over.
pub async fn drained(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    tracing::info!(drain_s = drain.as_secs(), "shutting down: the run may finish within this time");
    tokio::time::sleep(drain).await;
}

/// The run has used up `worker.run_deadline` in this step.
#[must_use]
pub fn too_long(deadline: Duration, step: Option<&str>) -> anyhow::Error {
    let words = format!("the run took longer than worker.run_deadline ({} s)", deadline.as_secs());
    let error = anyhow::Error::new(Transient(words));
    match step.and_then(steps::named) {
        Some(step) => error.context(InStep(step)),
        None => error,
    }
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
