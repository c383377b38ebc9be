//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jira_agent::config::parse_duration;
use jira_agent::domain::{AccountId, BranchName, Mode};
use jira_agent::exit::EXIT_CODES;
use jira_agent::program::DoctorArgs;

/// Puts tickets on the queue of jira-agent and looks after it.
#[derive(Debug, Parser)]
#[command(
    name = "jira-agent-producer",
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

const SETTINGS: &str = "`enqueue`, `dead-letters` and `topology` need the broker's address and nothing else: AMQP_URL, \
    or queue.url in the settings file. `runs cancel` also needs the account of the tickets: JIRA_URL, JIRA_EMAIL and \
    JIRA_API_TOKEN, or GITHUB_TOKEN. `doctor` looks at all that a worker needs. config.default.toml documents every setting; each can \
    also be set as JIRA_AGENT__SECTION__KEY.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put tickets on the queue, and print the id of each one's run
    Enqueue(Box<EnqueueArgs>),
    /// Stop runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Look at tasks that nobody could carry out, and put them back or throw them away
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Create or compare the exchanges and queues on the broker
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// Check every service and setting, and say how to mend what is wrong
    ///
    /// Asks the broker, Jira, GitHub and the model's service, all at once; it takes at most about 20 s. Exit code 1 when
    /// something is broken, 0 when there is nothing worse than a warning.
    Doctor(DoctorArgs),
}

const ENQUEUE_EXAMPLES: &str = "\
Examples:
  jira-agent-producer enqueue PROJ-123 PROJ-124
  jira-agent-producer enqueue 12 --repo https://github.com/acme/shop --mode plan
  jira-agent-producer enqueue PROJ-123 --wait --timeout 30m
  printf 'PROJ-1\\n{\"issue_id\": \"PROJ-2\", \"mode\": \"plan\"}\\n' | jira-agent-producer enqueue --file -

Exit codes: 0 enqueued (with --wait: every run ended well), 1 a run failed or asks for a person, 65 a ticket cannot be \
read (nothing is enqueued then), 69 the broker is unreachable, 75 --timeout is over or the queue is full, 78 settings.";

/// `enqueue`.
#[derive(Debug, Args)]
#[command(after_help = ENQUEUE_EXAMPLES)]
pub struct EnqueueArgs {
    /// Ticket keys: PROJ-123, owner/repo#12, or with --repo a number
    #[arg(value_name = "KEY", required_unless_present = "file")]
    pub keys: Vec<String>,
    /// Read more tickets from a file, one a line: a key, or a task as JSON. Empty lines and lines that begin with # are
    /// skipped; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The repository, e.g. `https://github.com/acme/shop`; a number as KEY is then one of its issues [default: by the
    /// configured routes]
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// quickfix (straight to a pull request) or plan (a draft with a plan, which waits for approval) [default: by the
    /// ticket's labels and the routes]
    #[arg(long)]
    pub mode: Option<Mode>,
    /// The branch to start from and merge into [default: the route's or the repository's]
    #[arg(long, value_name = "BRANCH")]
    pub base: Option<BranchName>,
    /// Who asks, for the record: an account id or a login [default: nobody]
    #[arg(long, value_name = "USER")]
    pub by: Option<AccountId>,
    /// Run even when the ticket has nothing new since its last run
    #[arg(long)]
    pub force: bool,
    /// Follow the runs to their ends
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up waiting after this long, e.g. 90s, 30m, 1h 30m; the runs go on
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration, requires = "wait")]
    pub timeout: Duration,
    /// Print one JSON document; with --wait one line an event
    #[arg(long)]
    pub json: bool,
}

const CANCEL_EXAMPLES: &str = "\
Examples:
  jira-agent-producer runs cancel PROJ-123
  jira-agent-producer runs cancel 12 13 --repo https://github.com/acme/shop --by ann

Exit codes: 0 the tickets hold the request and running workers were told; 1 a ticket does not hold it, and asking again will not help; 65 a \
KEY cannot be read (nothing is asked then); 69 the broker is unreachable; 75 a service is away: try again; 78 settings. \
What was done all the same is said.";

/// `runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Stop everything that was asked for on these tickets until now
    ///
    /// The request is written on the ticket (the Jira issue property jira-agent-cancel, or a comment of the account of
    /// github.token, which has to be the workers' own), where queued and waiting tasks meet it, and told to the workers
    /// that run now. A task that is put on the queue later runs. Asking again replaces the request.
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(CancelArgs),
}

/// `runs cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Ticket keys: PROJ-123, owner/repo#12, or with --repo a number
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// The repository whose issues the numbers are, e.g. `https://github.com/acme/shop`
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// Who wants it: an account id or a login; the ticket names them
    #[arg(long, value_name = "USER", env = "USER", hide_env_values = true, default_value = "operator")]
    pub by: AccountId,
}

const DEAD_LETTERS_EXIT_CODES: &str = "\
An ID may be shortened to its first 6 characters or more, as long as one dead letter alone begins so.

Exit codes: 0 done; 1 there is no such dead letter (nothing is done then); 2 usage; 69 the broker is unreachable; 75 the queue \
is full; 78 settings, or a queue is missing.";

/// `dead-letters`.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, the oldest first
    List(ListArgs),
    /// Explain one in full: why it is here, and what to do next
    #[command(after_help = DEAD_LETTERS_EXIT_CODES)]
    Show(ShowArgs),
    /// Put dead letters on the queue of tasks again, with their ids, as first attempts
    ///
    /// A letter is taken away only after the broker has confirmed the task.
    #[command(after_help = DEAD_LETTERS_EXIT_CODES)]
    Replay(ReplayArgs),
    /// Throw dead letters away for good
    #[command(after_help = DEAD_LETTERS_EXIT_CODES)]
    Drop(DropArgs),
}

/// `dead-letters list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The id of the dead letter
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhichArgs {
    /// The ids of the dead letters
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// All that are there now
    #[arg(long)]
    pub all: bool,
}

/// `dead-letters replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Which ones.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Who wants it, for the record
    #[arg(long, value_name = "USER", env = "USER", hide_env_values = true, default_value = "operator")]
    pub by: AccountId,
}

/// `dead-letters drop`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// Which ones.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Do not ask; without a terminal to ask on this is required
    #[arg(long)]
    pub yes: bool,
}

/// `topology`.
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Create what is missing, and print what is there now; changes nothing that exists
    Apply,
    /// Print what is missing or different, and exit with 1 if anything is; changes nothing
    Check,
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
