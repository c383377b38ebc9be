//! From the command line to an exit code: what a command needs, its clients, the command.

use jira_agent::config::{Config, Needs};
use jira_agent::exit::ExitStatus;
use jira_agent::http::Http;
use jira_agent::program::Program;
use jira_agent::redact::Redactor;
use jira_agent::tickets::Tickets;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command, RunsCommand};
use crate::{dead_letters, enqueue, runs, topology};

/// Runs the program.
#[must_use]
pub fn main(cli: Cli) -> ExitStatus {
    let needs = needs(&cli.command);
    let program = Program { name: "jira-agent-producer", config: cli.config.clone(), needs };
    program.run(|config, redactor| run(cli, config, redactor))
}

fn needs(command: &Command) -> Option<Needs> {
    match command {
        Command::Enqueue(_) | Command::DeadLetters(_) | Command::Topology(_) => Some(Needs::Enqueue),
        Command::Runs(RunsCommand::Cancel(args)) => Some(runs::needs(args)),
        // It reports what is missing itself.
        Command::Doctor(_) => None,
    }
}

async fn run(cli: Cli, config: Config, redactor: Redactor) -> anyhow::Result<ExitStatus> {
    match cli.command {
        Command::Enqueue(args) => enqueue::run(&args, &config.queue).await,
        Command::Runs(RunsCommand::Cancel(args)) => {
            let http = Http::new(&config.http, CancellationToken::new())?;
            let tickets = Tickets::by(&config, &http)?;
            runs::cancel(&args, &config.queue, &tickets, &redactor).await
        }
        Command::DeadLetters(command) => dead_letters::run(&command, &config, &redactor).await,
        Command::Topology(command) => topology::run(&command, &config.queue).await,
        Command::Doctor(args) => jira_agent::doctor::run(&config, &redactor, args.json).await,
    }
}
