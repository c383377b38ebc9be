//! The producer: triggers in, tasks out. In suggested reading order.

pub mod app;
pub mod cli;
pub mod dead_letters;
pub mod enqueue;
pub mod runs;
pub mod topology;

mod announce;
mod keys;
