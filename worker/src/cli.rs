//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jira_agent::domain::{BranchName, Mode, RepoUrl, TaskId, TicketKey};

/// Takes tickets from the queue and turns them into pull requests.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-worker", version, arg_required_else_help = true)]
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
    /// Consume the queue until stopped
    Run(RunArgs),
    /// Work on one ticket, here and now; exits 0 when a pull request, a plan or nothing to change came out of it
    Ticket(TicketArgs),
    /// Show which files of a directory the model would be shown for a ticket text
    Context(ContextArgs),
    /// Apply a reply of edit blocks to a directory: all of it, or nothing and exit 65
    Apply(ApplyArgs),
    /// Check every service and setting, and say how to mend what is wrong
    Doctor(DoctorArgs),
    /// Move objects between a repository and its remote (used by this program itself)
    #[command(name = crate::git::TRANSFER_COMMAND, hide = true)]
    Transfer,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stop after one task
    #[arg(long)]
    pub once: bool,
    /// Stop when nothing was delivered for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub idle_exit: Option<Duration>,
}

/// `ticket`.
#[derive(Debug, Args)]
pub struct TicketArgs {
    /// The ticket: PROJ-123 or owner/repo#12
    #[arg(value_name = "KEY")]
    pub key: TicketKey,
    /// The repository [default: by the configured routes]
    #[arg(long, value_name = "URL")]
    pub repo: Option<RepoUrl>,
    /// quickfix or plan [default: by the ticket's labels and the routes]
    #[arg(long)]
    pub mode: Option<Mode>,
    /// The branch to start from [default: the route's or the repository's]
    #[arg(long, value_name = "BRANCH")]
    pub base: Option<BranchName>,
    /// The run's id; the same id again is the same run [default: a new one]
    #[arg(long, value_name = "ULID")]
    pub task_id: Option<TaskId>,
    /// Do not take the ticket's lease from the queue
    #[arg(long)]
    pub no_lease: bool,
    /// Print the outcome as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// The directory
    #[arg(long, value_name = "DIR")]
    pub tree: PathBuf,
    /// The ticket's text; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The directory
    #[arg(long, value_name = "DIR")]
    pub tree: PathBuf,
    /// The reply with the edit blocks; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub reply: PathBuf,
    /// Say what would change and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

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
