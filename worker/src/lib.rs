//! The worker: one ticket to one pull request. In suggested reading order.

mod marks;
pub mod tree;
pub mod workspace_dir;

pub mod edit;
pub mod git;
pub mod model;
pub mod prompt;
pub mod search;
pub mod syntax;
pub mod text;

pub mod breaker;
pub mod crash;
pub mod failure;
pub mod metrics;
pub mod probe;
pub mod products;
pub mod recall;
pub mod run_log;
pub mod services;
pub mod snapshot_source;
pub mod world;

pub mod steps;

pub mod stage;
mod step_note;

pub mod pipeline;

pub mod consumer;

pub mod app;
pub mod cli;
pub mod offline;
