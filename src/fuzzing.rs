//! What the answers of services and the headers of messages go through, for the fuzz targets (feature `fuzzing`).

use serde_json::Value;

/// Reads a body as every answer of Jira that there is a type for, and makes of it what a run sees.
pub fn read_jira(body: &[u8]) {
    crate::jira::fuzzing::read(body);
}

/// The same for GitHub.
pub fn read_github(body: &[u8]) {
    crate::github::fuzzing::read(body);
}

/// Takes a JSON object for the headers of a message, and makes the headers of all messages that may follow it.
pub fn read_broker_headers(headers: &Value) {
    crate::queue::rabbitmq::fuzzing::read(headers);
}
