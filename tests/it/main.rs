//! Tests against real services, in one binary.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod broker;
mod cli;
mod queue;
mod queue_conformance;
mod redis;
mod world;

mod fleet;
mod kill;
mod misbehave;
mod run;
mod sqlite;
mod trouble;
