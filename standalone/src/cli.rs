//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jira_agent::domain::{BranchName, Mode, TaskId};
use jira_agent::exit::EXIT_CODES;

/// jira-agent on one machine.
#[derive(Debug, Parser)]
#[command(name = "jira-agent", version, arg_required_else_help = true, after_help = format!("{SETTINGS}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const SETTINGS: &str = "`up` and `run` need Jira or GitHub, at least one [[routes]] entry and a model; secrets come from \
    JIRA_EMAIL and JIRA_API_TOKEN, GITHUB_TOKEN, ANTHROPIC_API_KEY (or OPENAI_API_KEY, or OLLAMA_HOST), or from files named \
    by the same variables with _FILE behind. `demo` needs nothing. config.default.toml documents every setting; each can \
    also be set as JIRA_AGENT__SECTION__KEY.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One ticket to one pull request, right here, without any account
    ///
    /// Jira, GitHub's REST API and the model are simulated on loopback; the worker, git over HTTP, the repository, the patch,
    /// the checks and the push are real. Takes seconds, needs git, and changes nothing outside the directory for temporary
    /// files. The pull request's diff and the ticket before and after go to standard output.
    Demo(DemoArgs),
    /// The worker and its queue in one process, until stopped; no broker is needed
    ///
    /// The queue is a file: queue.path, else jira-agent/queue.db in $XDG_STATE_HOME or ~/.local/state. Tasks in it outlast
    /// the program, however that ends, and a run that was cut off goes on where it was. Another transport is used when
    /// queue.kind says so. SIGTERM or Ctrl-C: runs under way may finish within worker.drain_timeout (default 25 min), else
    /// their tasks go back to the queue; the second signal ends the program at once.
    #[command(after_help = UP_HELP)]
    Up(UpArgs),
    /// One ticket to one pull request, here and now, without a queue
    ///
    /// Shows each step on standard error, and prints the pull request's address on standard output. Without a queue nothing
    /// keeps a worker elsewhere from the same ticket but the compare-and-swap push and the find-or-create effects; where
    /// queue.kind is set, the ticket's lease is taken from that queue.
    #[command(after_help = RUN_EXIT_CODES)]
    Run(RunArgs),
    /// Move objects between a repository and its remote (used by this program itself)
    #[command(name = jira_agent_worker::git::TRANSFER_COMMAND, hide = true)]
    Transfer,
}

const UP_HELP: &str = "\
Give it tickets from another shell, with the same settings:

  JIRA_AGENT__QUEUE__KIND=sqlite jira-agent-producer enqueue PROJ-123

Exit codes: 0 stopped; 1 failed; 69 the queue is unreachable; 78 settings.";

const RUN_EXIT_CODES: &str = "\
Exit codes: 0 a pull request or a plan is there, or there is nothing to do; 1 the run failed for good or asks for a \
person; 65 KEY or --repo cannot be read; 69 the queue is unreachable; 75 another worker has the ticket, or a service is \
away: try again later, with the same --task-id; 78 settings.";

/// Where the settings are.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Settings file, TOML [default: ./jira-agent.toml when it exists]
    #[arg(long, env = "JIRA_AGENT_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// How many tickets are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Where the settings are.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
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
    /// Print how it ended as one JSON document
    #[arg(long)]
    pub json: bool,
    /// Where the settings are.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the simulated services up until Ctrl-C, and say where they are
    #[arg(long)]
    pub keep: bool,
    /// Which model writes the patch
    #[arg(long, value_enum, default_value_t = DemoModel::Scripted)]
    pub model: DemoModel,
    /// Settings file for --model real, TOML [default: ./jira-agent.toml when it exists]
    #[arg(long, env = "JIRA_AGENT_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Who writes the patch in the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DemoModel {
    /// A server that knows the one answer, and gives it only when it is shown the right file
    Scripted,
    /// The model of ANTHROPIC_API_KEY, OPENAI_API_KEY or OLLAMA_HOST, or of the settings file
    Real,
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
