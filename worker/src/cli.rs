//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jira_agent::config::parse_duration;
use jira_agent::domain::{BranchName, Mode, TaskId};
use jira_agent::exit::EXIT_CODES;
use jira_agent::program::DoctorArgs;

/// Takes tickets from the queue and turns them into pull requests.
#[derive(Debug, Parser)]
#[command(
    name = "jira-agent-worker",
    version,
    arg_required_else_help = true,
    after_help = format!("{SETTINGS}\n\n{EXIT_CODES}")
)]
pub struct Cli {
    /// Settings file, TOML [default: ./jira-agent.toml when it exists]
    #[arg(long, global = true, env = "JIRA_AGENT_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const SETTINGS: &str = "`run`, `ticket` and `doctor` need Jira or GitHub, at least one [[routes]] entry and a model; \
    secrets come from JIRA_EMAIL and JIRA_API_TOKEN, GITHUB_TOKEN, ANTHROPIC_API_KEY (or OPENAI_API_KEY, or OLLAMA_HOST) \
    and AMQP_URL, or from files named by the same variables with _FILE behind. `context` and `apply` need nothing. config.default.toml documents every \
    setting; each can also be set as JIRA_AGENT__SECTION__KEY.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take tasks from the queue, one at a time, until stopped
    ///
    /// SIGTERM or Ctrl-C: the run under way may finish within worker.drain_timeout (default 25 min), else its task goes
    /// back to the queue; the second signal ends the worker at once.
    Run(RunArgs),
    /// Work on one ticket, here and now, without a task on the queue
    #[command(after_help = TICKET_EXIT_CODES)]
    Ticket(TicketArgs),
    /// Show which files of a directory the model would be shown for a ticket text
    Context(ContextArgs),
    /// Apply a reply of edit blocks to a directory: all of it, or nothing
    #[command(after_help = APPLY_EXIT_CODES)]
    Apply(ApplyArgs),
    /// Check every service and setting, and say how to mend what is wrong
    ///
    /// Asks the broker, Jira, GitHub and the model's service, all at once; it takes at most about 20 s. Exit code 1 when
    /// something is broken, 0 when there is nothing worse than a warning.
    Doctor(DoctorArgs),
    /// Move objects between a repository and its remote (used by this program itself)
    #[command(name = crate::git::TRANSFER_COMMAND, hide = true)]
    Transfer,
}

const TICKET_EXIT_CODES: &str = "\
Exit codes: 0 a pull request or a plan is there, or there is nothing to do; 1 the run failed for good or asks for a \
person; 65 KEY or --repo cannot be read; 69 the broker is unreachable; 75 another worker has the ticket, or a service is \
away: try again later, with the same --task-id; 78 settings.";

const APPLY_EXIT_CODES: &str = "\
Prints the changed paths. An edit block has the file's path alone on the line before it; an empty SEARCH creates a file:

  src/cart.rs
  <<<<<<< SEARCH
      let total = price;
  =======
      let total = price * quantity;
  >>>>>>> REPLACE

Exit codes: 0 applied; 65 the reply does not apply, with the reasons, and nothing is written.";

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Stop after one task was settled: done, put off, or dead-lettered
    #[arg(long)]
    pub once: bool,
    /// Stop when nothing was delivered for this long, e.g. 90s, 30m; exit 69 when the broker was away all the time
    /// [default: wait for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub idle_exit: Option<Duration>,
}

/// `ticket`.
#[derive(Debug, Args)]
pub struct TicketArgs {
    /// The ticket: PROJ-123 or owner/repo#12
    #[arg(value_name = "KEY")]
    pub key: String,
    /// The repository, e.g. `https://github.com/acme/shop`; a configured route has to name it too [default: by the
    /// configured routes]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// quickfix (straight to a pull request) or plan (a draft with a plan) [default: by the ticket's labels and the
    /// routes]
    #[arg(long)]
    pub mode: Option<Mode>,
    /// The branch to start from and merge into [default: the route's or the repository's]
    #[arg(long, value_name = "BRANCH")]
    pub base: Option<BranchName>,
    /// The run's id; the same id again is the same run [default: a new one]
    #[arg(long, value_name = "ULID")]
    pub task_id: Option<TaskId>,
    /// Do not take the ticket's lease from the queue: no broker is needed then
    #[arg(long)]
    pub no_lease: bool,
    /// Print how it ended as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `context`.
#[derive(Debug, Args)]
pub struct ContextArgs {
    /// The directory, e.g. a checkout of the repository
    #[arg(long, value_name = "DIR")]
    pub tree: PathBuf,
    /// The ticket's text; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Print one JSON document: the files, why each was chosen, and the estimated tokens
    #[arg(long)]
    pub json: bool,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The directory, e.g. a checkout of the repository
    #[arg(long, value_name = "DIR")]
    pub tree: PathBuf,
    /// The reply with the edit blocks; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub reply: PathBuf,
    /// Print what would change and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document: the changed paths, and how many lines were added and removed
    #[arg(long)]
    pub json: bool,
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
