//! The producer: triggers in, tasks out. In suggested reading order.

pub mod app;
pub mod cli;
pub mod enqueue;
pub mod topology;
