//! The command line.

use clap::{Parser, ValueEnum};

/// Measures the product against a plain peer and prints a table. Needs release builds, a private RabbitMQ and a private Redis; `scripts/bench`
/// sees to both.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-bench", version)]
pub struct Cli {
    /// Exit with 1 when a limit is missed; without this the table only says so
    #[arg(long)]
    pub check: bool,
    /// Measure this only; may be given several times
    #[arg(long, value_enum, value_name = "WHAT")]
    pub only: Vec<Measurement>,
    /// How often each side is measured, in turns; a round of `consume` is 40 turns of 25 tasks
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measurement {
    /// Take a task and acknowledge it, against a plain lapin loop
    Consume,
    /// Take a task, its lease, and acknowledge it on RabbitMQ, against a plain loop
    Rabbitmq,
    /// The same on Redis
    Redis,
    /// The same in a SQLite file
    Sqlite,
    /// Fetch a repository at depth 1, against `git clone --depth 1`
    Clone,
    /// From starting a worker to its first wait for a task
    Start,
    /// Memory of a worker that waits for a task
    Memory,
}

impl Measurement {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Rabbitmq => "rabbitmq",
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
            Self::Clone => "clone",
            Self::Start => "start",
            Self::Memory => "memory",
        }
    }
}

impl Cli {
    /// What is to be measured, all when nothing is named.
    pub fn measurements(&self) -> &[Measurement] {
        if self.only.is_empty() { Measurement::value_variants() } else { &self.only }
    }
}
