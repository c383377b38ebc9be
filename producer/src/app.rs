//! From the command line to an exit code: settings, telemetry, the command, the answer.

use jira_agent::config::{Config, ConfigError, ConfigSources, Needs};
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::queue::QueueError;
use jira_agent::redact::Redactor;
use jira_agent::telemetry;

use crate::cli::{Cli, Command};
use crate::enqueue::{self, BadTickets};
use crate::topology;

/// Runs the program.
#[must_use]
pub fn main(cli: Cli) -> ExitStatus {
    match start(cli) {
        Ok(status) => status,
        Err(error) => {
            output::note(&format!("jira-agent-producer: {error:#}"));
            status_of(&error)
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitStatus> {
    let config = Config::load(ConfigSources::from_process(cli.config.clone()))?;
    if let Some(needs) = needs(&cli.command) {
        config.check(needs)?;
    }
    let redactor = Redactor::new(config.secrets());
    let _telemetry = telemetry::init(&config.log, redactor.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(cli, config, &redactor)).or_else(|error| {
        // A service may repeat in its answer what it was sent.
        output::note(&redactor.redact(&format!("jira-agent-producer: {error:#}")));
        Ok(status_of(&error))
    })
}

fn needs(command: &Command) -> Option<Needs> {
    match command {
        Command::Enqueue(_) | Command::Topology(_) => Some(Needs::Enqueue),
        // It reports what is missing itself.
        Command::Doctor(_) => None,
    }
}

async fn run(cli: Cli, config: Config, redactor: &Redactor) -> anyhow::Result<ExitStatus> {
    match cli.command {
        Command::Enqueue(args) => enqueue::run(&args, &config.queue).await,
        Command::Topology(command) => topology::run(&command, &config.queue).await,
        Command::Doctor(args) => jira_agent::doctor::run(&config, redactor, args.json).await,
    }
}

fn status_of(error: &anyhow::Error) -> ExitStatus {
    for cause in error.chain() {
        if cause.is::<BadTickets>() {
            return ExitStatus::BadInput;
        }
        if cause.is::<ConfigError>() {
            return ExitStatus::Config;
        }
        if let Some(error) = cause.downcast_ref::<QueueError>() {
            return error.into();
        }
    }
    ExitStatus::Failed
}
