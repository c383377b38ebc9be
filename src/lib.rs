//! What worker and producer share, in suggested reading order.

pub mod domain;

pub mod config;
pub mod secret;

pub mod queue;
