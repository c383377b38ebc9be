//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Carries tickets to their end while everything around them fails, and says whether anything was lost or done twice.
///
/// Needs a worker built with crash points and a broker of its own; `scripts/chaos` sees to both.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-chaos", version)]
pub struct Cli {
    /// How many tickets, each of which is one run; a few more close the steps and faults that were not met by then
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// What carries the tasks
    #[arg(long, value_enum, default_value_t, value_name = "TRANSPORT")]
    pub transport: Transport,
    /// Draws the schedule; the same seed, runs, workers and transport give the same one [default: by the clock]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Worker processes at any time
    #[arg(long, default_value_t = 4, value_name = "W", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub workers: u32,
    /// Only print what would be done when, as one line an action
    #[arg(long)]
    pub print_schedule: bool,
    /// Keep logs and settings there [default: a new directory, removed after a good verdict]
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// What carries the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Transport {
    /// RabbitMQ
    #[default]
    Rabbitmq,
    /// Redis or Valkey
    Redis,
    /// A file
    Sqlite,
}

impl Transport {
    /// Its name in `queue.kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rabbitmq => "rabbitmq",
            Self::Redis => "redis",
            Self::Sqlite => "sqlite",
        }
    }

    /// Whether workers reach it by a connection that can be cut.
    pub fn has_connections(self) -> bool {
        self != Self::Sqlite
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
