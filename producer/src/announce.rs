//! The event that a task waits.

use jira_agent::domain::{EventKind, Run, TaskId, TicketKey};
use jira_agent::queue::TaskQueue;
use serde_json::Value;

/// Tells the record that the task waits. The queue has it already, so a lost event loses nothing.
pub async fn queued(queue: &dyn TaskQueue, run: TaskId, ticket: &TicketKey, data: Value) {
    let mut log = Run::queued(run, ticket.clone());
    if let Ok(event) = log.record(EventKind::Queued, 1, data)
        && let Err(error) = queue.emit(event).await
    {
        tracing::warn!(run.id = %run, %error, "the event `queued` was not published");
    }
}
