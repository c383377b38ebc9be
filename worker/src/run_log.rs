//! The events of one run: recorded in order, published, and shown to whoever looks on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jira_agent::domain::{Event, EventKind, Run, Task};
use jira_agent::queue::TaskQueue;
use jira_agent::redact::Redactor;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument as _;

/// Somebody who looks on, e.g. a progress display.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Events of one attempt that may wait to be published; one has about twenty.
const MOST_WAITING: usize = 256;
/// How long the end of an attempt waits for events that are not published yet.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Records what happens in one attempt. Only `pipeline` and `consumer` have one.
///
/// Events are published in their order beside the run, which never waits for them: a broker that takes tasks may still
/// have an ill queue of events.
pub struct RunLog {
    run: Run,
    attempt: u32,
    publisher: Option<mpsc::Sender<Outgoing>>,
    observer: Option<Observer>,
    redactor: Redactor,
    since: Instant,
}

enum Outgoing {
    Event(Box<Event>),
    /// All events before this one are done with.
    Mark(oneshot::Sender<()>),
}

impl RunLog {
    /// For an attempt at a task; without a queue events are only observed. Needs a Tokio runtime.
    #[must_use]
    pub fn new(
        task: &Task,
        attempt: u32,
        queue: Option<Arc<dyn TaskQueue>>,
        observer: Option<Observer>,
        redactor: Redactor,
    ) -> Self {
        let run = Run::queued(task.id, task.ticket.clone());
        let publisher = queue.map(|queue| {
            let (publisher, events) = mpsc::channel(MOST_WAITING);
            tokio::spawn(publish(queue, events).in_current_span());
            publisher
        });
        Self { run, attempt, publisher, observer, redactor, since: Instant::now() }
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Records an event; `duration_ms` since the event before is added to its data, and secrets are taken out: a
    /// reason can be in the model's own words.
    pub fn record(&mut self, kind: EventKind, mut data: Value) {
        redact(&self.redactor, &mut data);
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
        if let Some(publisher) = &self.publisher
            && publisher.try_send(Outgoing::Event(Box::new(event.clone()))).is_err()
        {
            tracing::warn!(event = %kind, "an event was not published: too many wait already");
        }
    }

    /// Waits until the events so far are published, at most two seconds. Called before a delivery is settled, so that
    /// who follows a run hears of its end.
    pub async fn flush(&self) {
        let Some(publisher) = &self.publisher else { return };
        let (mark, passed) = oneshot::channel();
        let flushed = async {
            // An error means that the publishing task is gone, and nothing is left to wait for.
            if publisher.send(Outgoing::Mark(mark)).await.is_ok() {
                let _ = passed.await;
            }
        };
        if tokio::time::timeout(LAST_WAIT, flushed).await.is_err() {
            tracing::warn!("events of this run are not published yet; the run does not wait for them");
        }
    }
}

async fn publish(queue: Arc<dyn TaskQueue>, mut events: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = events.recv().await {
        match outgoing {
            Outgoing::Event(event) => {
                if let Err(error) = queue.emit(&event).await {
                    tracing::warn!(event = %event.kind, %error, "an event was not published");
                }
            }
            Outgoing::Mark(mark) => {
                // Nobody waits any more.
                let _ = mark.send(());
            }
        }
    }
}

/// Takes secrets out of every text of the data.
fn redact(redactor: &Redactor, data: &mut Value) {
    match data {
        Value::String(text) => *text = redactor.redact(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(|value| redact(redactor, value)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact(redactor, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use jira_agent::domain::TaskId;
    use jira_agent::queue::memory::MemoryQueue;
    use jira_agent::queue::{Consumer, EventStream, LeaseKey, LeaseOutcome, QueueError};
    use jira_agent::secret::Secret;

    use super::*;

    /// A queue that takes everything but events.
    #[derive(Default)]
    struct Ill {
        well: MemoryQueue,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl TaskQueue for Ill {
        async fn publish(&self, task: &Task) -> Result<(), QueueError> {
            self.well.publish(task).await
        }

        async fn consume(&self) -> Result<Box<dyn Consumer>, QueueError> {
            self.well.consume().await
        }

        async fn emit(&self, _: &Event) -> Result<(), QueueError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }

        async fn follow(&self, run: TaskId) -> Result<EventStream, QueueError> {
            self.well.follow(run).await
        }

        async fn lease(&self, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
            self.well.lease(key).await
        }

        async fn close(&self) {
            self.well.close().await;
        }
    }

    fn task() -> Task {
        Task::new("PROJ-1".parse().unwrap())
    }

    #[tokio::test]
    async fn an_ill_queue_of_events_holds_no_run_up() {
        let ill = Arc::new(Ill::default());
        let mut log = RunLog::new(&task(), 1, Some(ill.clone()), None, Redactor::default());
        let begun = Instant::now();
        log.record(EventKind::Claimed, json!({}));
        log.record(EventKind::Cloned, json!({}));
        assert!(begun.elapsed() < Duration::from_secs(1));
        log.flush().await;
        assert!(begun.elapsed() < LAST_WAIT * 2, "the end waits for a while only");
        assert_eq!(ill.asked.load(Ordering::Relaxed), 1, "the order is kept");
    }

    #[tokio::test]
    async fn who_follows_a_run_has_its_events_after_a_flush_and_no_secret_in_them() {
        use futures_util::StreamExt as _;

        let (queue, task) = (MemoryQueue::default(), task());
        let mut events = queue.follow(task.id).await.unwrap();
        let redactor = Redactor::new([Secret::new("correct horse")]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let observer: Observer = Arc::new(move |event| notes.lock().unwrap().push(event.data.to_string()));
        let mut log = RunLog::new(&task, 1, Some(Arc::new(queue)), Some(observer), redactor);
        log.record(EventKind::Claimed, json!({"list": ["a correct horse"]}));
        log.flush().await;
        let event = events.next().await.unwrap();
        assert_eq!(event.data["list"], json!(["a ***"]));
        assert!(!seen.lock().unwrap().join("").contains("horse"));
    }
}
