//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jira_agent::domain::{AccountId, BranchName, Mode, RepoUrl};

/// Puts tickets on the queue of jira-agent and looks after it.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-producer", version, arg_required_else_help = true)]
pub struct Cli {
    /// Settings file [default: ./jira-agent.toml when it exists]
    #[arg(long, global = true, env = "JIRA_AGENT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put tickets on the queue
    Enqueue(Box<EnqueueArgs>),
    /// Create or compare the exchanges and queues on the broker
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// Check every service and setting, and say how to mend what is wrong
    Doctor(DoctorArgs),
}

/// `enqueue`.
#[derive(Debug, Args)]
pub struct EnqueueArgs {
    /// Ticket keys: PROJ-123 or owner/repo#12
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
    /// Read more tickets from a file, one a line (a key or a task as JSON); `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The repository; a number as KEY is then one of its issues [default: by the configured routes]
    #[arg(long, value_name = "URL")]
    pub repo: Option<RepoUrl>,
    /// quickfix, plan, execute, revise or fix-checks [default: by the ticket's labels and the routes]
    #[arg(long)]
    pub mode: Option<Mode>,
    /// The branch to start from [default: the route's or the repository's]
    #[arg(long, value_name = "BRANCH")]
    pub base: Option<BranchName>,
    /// Who asks
    #[arg(long, value_name = "USER")]
    pub by: Option<AccountId>,
    /// Run even when the ticket has nothing new since the last run
    #[arg(long)]
    pub force: bool,
    /// Follow the runs to their ends; exit 1 when one fails
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long and exit 75
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub timeout: Duration,
    /// Print one JSON document (with --wait: one line an event)
    #[arg(long)]
    pub json: bool,
}

/// `topology`.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Declare everything; changes nothing that is right already
    Apply,
    /// Say what is missing or different; changes nothing
    Check,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Reads `30s`, `25m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    jira_agent::config::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
