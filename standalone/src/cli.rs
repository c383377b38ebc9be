//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jira_agent::exit::EXIT_CODES;

/// jira-agent on one machine.
#[derive(Debug, Parser)]
#[command(name = "jira-agent", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One ticket to one pull request, right here, without any account
    ///
    /// Jira, GitHub's REST API and the model are simulated on loopback; the worker, git over HTTP, the repository, the patch,
    /// the checks and the push are real. Takes seconds, needs git, and changes nothing outside the directory for temporary
    /// files. The pull request's diff and the ticket before and after go to standard output.
    Demo(DemoArgs),
    /// Move objects between a repository and its remote (used by this program itself)
    #[command(name = jira_agent_worker::git::TRANSFER_COMMAND, hide = true)]
    Transfer,
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
