//! What worker and producer share, in suggested reading order.

pub mod domain;

pub mod exit;
pub mod output;
pub mod progress;
pub mod secret;

pub mod config;
pub mod redact;
pub mod retry;
pub mod routing;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod tls;

pub mod http;

pub mod queue;

mod lenient;
mod rest;
pub mod sticky;

pub mod github;
pub mod jira;

pub mod tickets;

pub mod doctor;

pub mod program;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(test)]
mod testing;
