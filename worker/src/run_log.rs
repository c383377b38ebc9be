//! The events of one run: recorded in order, published, and shown to whoever looks on.

use std::sync::Arc;
use std::time::Instant;

use jira_agent::config::Config;
use jira_agent::domain::{Event, EventKind, Run, Task};
use jira_agent::queue::TaskQueue;
use jira_agent::redact::Redactor;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Somebody who looks on, e.g. a progress display.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Events that wait for the broker; more are dropped with a warning.
const WAITING: usize = 256;

/// Records what happens in one attempt. Events inform: a slow broker does not hold a run up, but what is recorded is
/// published before the attempt is settled, as far as the broker takes it within ten seconds.
pub struct RunLog {
    run: Run,
    attempt: u32,
    redactor: Redactor,
    observer: Option<Observer>,
    publisher: Option<Publisher>,
    since: Instant,
}

struct Publisher {
    queue: Arc<dyn TaskQueue>,
    sender: mpsc::Sender<Event>,
    task: JoinHandle<()>,
}

impl RunLog {
    /// For an attempt at a task; without a queue events are only observed.
    #[must_use]
    pub fn new(
        task: &Task,
        attempt: u32,
        redactor: Redactor,
        queue: Option<Arc<dyn TaskQueue>>,
        observer: Option<Observer>,
    ) -> Self {
        let run = Run::queued(task.id, task.ticket.clone());
        let publisher = queue.map(Publisher::start);
        Self { run, attempt, redactor, observer, publisher, since: Instant::now() }
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Records an event; `duration_ms` since the event before is added to its data, and no secret stays in it.
    pub async fn record(&mut self, kind: EventKind, data: Value) {
        let duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        let data = match self.redacted(data) {
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
        if let Some(publisher) = &self.publisher
            && publisher.sender.try_send(event.clone()).is_err()
        {
            tracing::warn!(event = %kind, "the broker takes no events; this one was dropped");
        }
    }

    /// Waits until what was recorded is published.
    pub async fn flush(&mut self) {
        let Some(Publisher { queue, sender, task }) = self.publisher.take() else { return };
        drop(sender);
        if tokio::time::timeout(Config::TIME_TO_FLUSH, task).await.is_err() {
            tracing::warn!("the broker did not take all events in time");
        }
        self.publisher = Some(Publisher::start(queue));
    }

    fn redacted(&self, data: Value) -> Value {
        match data {
            Value::String(text) => Value::String(self.redactor.redact(&text).into_owned()),
            Value::Array(values) => values.into_iter().map(|value| self.redacted(value)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (name, self.redacted(value))).collect()
            }
            other => other,
        }
    }
}

impl Publisher {
    fn start(queue: Arc<dyn TaskQueue>) -> Self {
        let (sender, mut events) = mpsc::channel::<Event>(WAITING);
        let to = queue.clone();
        let publish = async move {
            while let Some(event) = events.recv().await {
                if let Err(error) = to.emit(&event).await {
                    tracing::warn!(event = %event.kind, %error, "an event was not published");
                }
            }
        };
        let task = tokio::spawn(publish.in_current_span());
        Self { queue, sender, task }
    }
}
