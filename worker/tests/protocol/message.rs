//! A task's message, as a broker keeps it.

use bytes::Bytes;
use jira_agent::domain::{Task, TaskId};
use jira_agent::queue::{Counters, DeliveryInfo};

#[derive(Clone)]
pub struct Message {
    pub body: Bytes,
    pub info: DeliveryInfo,
    pub task: TaskId,
}

impl Message {
    /// As a producer publishes it.
    pub fn first(task: &Task) -> Self {
        let info = DeliveryInfo {
            message_id: Some(task.id.to_string()),
            attempt: 1,
            waits: 0,
            crashes: 0,
            delivery_count: 0,
            first_published: task.requested_at,
            traceparent: None,
            redelivered: false,
            replayed_by: None,
        };
        Self { body: task.to_json().into(), info, task: task.id }
    }
}

/// A message that goes back is a new one to the broker.
pub fn onward(body: &Bytes, info: &DeliveryInfo, counters: Counters, task: TaskId) -> Message {
    let Counters { attempt, waits, crashes } = counters;
    let info =
        DeliveryInfo { attempt, waits, crashes, delivery_count: 0, redelivered: false, ..info.clone() };
    Message { body: body.clone(), info, task }
}
