//! What worker and producer share, in suggested reading order.

pub mod domain;

pub mod config;
pub mod http;
pub mod retry;
pub mod secret;
pub mod tls;

pub mod queue;

mod lenient;
mod rest;
mod sticky;

pub mod github;
pub mod jira;

#[cfg(test)]
mod testing;
