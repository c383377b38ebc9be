//! Jira, GitHub (with git over HTTP) and model services in memory, at HTTP on loopback, for tests and the demo.
//!
//! One [`Simulator`] serves all of them on one listener. Every request is in the [`Journal`](journal::Journal), may be hit by a
//! [`Fault`](fault::Fault), and is a problem when no service knows it or the real one would refuse it as malformed.

mod server;

pub mod git_http;
pub mod github;
pub mod jira;
pub mod models;

pub mod fault;
pub mod journal;
pub mod problems;
pub mod service;

pub mod cli;
mod control;
pub mod github_glue;
mod scenario;

pub use scenario::Scenario;
pub use server::{Simulator, SimulatorOptions};
