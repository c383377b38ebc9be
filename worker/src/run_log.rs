//! The events of one run: recorded in order, published, and shown to whoever looks on.

use std::sync::Arc;
use std::time::Instant;

use jira_agent::domain::{Event, EventKind, Run, Task};
use jira_agent::queue::TaskQueue;
use serde_json::{Value, json};

/// Somebody who looks on, e.g. a progress display.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Records what happens in one attempt. Only `pipeline` and `consumer` have one.
pub struct RunLog {
    run: Run,
    attempt: u32,
    queue: Option<Arc<dyn TaskQueue>>,
    observer: Option<Observer>,
    since: Instant,
}

impl RunLog {
    /// For an attempt at a task; without a queue events are only observed.
    #[must_use]
    pub fn new(
        task: &Task,
        attempt: u32,
        queue: Option<Arc<dyn TaskQueue>>,
        observer: Option<Observer>,
    ) -> Self {
        let run = Run::queued(task.id, task.ticket.clone());
        Self { run, attempt, queue, observer, since: Instant::now() }
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Records an event; `duration_ms` since the event before is added to its data.
    pub async fn record(&mut self, kind: EventKind, data: Value) {
        let duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        let data = match data {
            Value::Object(mut fields) => {
                fields.insert("duration_ms".to_owned(), duration_ms.into());
                Value::Object(fields)
            }
            _ => json!({ "duration_ms": duration_ms }),
        };
        let event = match self.run.record(kind, self.attempt, data) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "an event came out of order and was not recorded");
                return;
            }
        };
        tracing::info!(event = %kind, duration_ms, "{}", kind.as_str().replace('_', " "));
        if let Some(observer) = &self.observer {
            observer(event);
        }
        if let Some(queue) = &self.queue
            && let Err(error) = queue.emit(event).await
        {
            tracing::warn!(event = %kind, %error, "an event was not published");
        }
    }
}
