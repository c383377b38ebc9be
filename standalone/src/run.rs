//! `run`: one ticket, here and now.

use std::sync::Arc;

use jira_agent::config::{Config, Needs};
use jira_agent::domain::Event;
use jira_agent::exit::ExitStatus;
use jira_agent::progress::Progress;
use jira_agent::redact::Redactor;
use jira_agent::shutdown::Shutdown;
use jira_agent_worker::app;
use jira_agent_worker::cli::TicketArgs;

use crate::cli::RunArgs;
use crate::settings;

/// Log lines would stand between the steps; these are worth it.
const QUIET: &str = "warn";

/// Runs the command.
///
/// # Errors
/// When settings are missing or cannot be used.
pub fn main(args: RunArgs) -> anyhow::Result<ExitStatus> {
    let shutdown = Shutdown::install()?;
    let mut config = settings::load(&args.settings)?;
    // Whoever names a queue has others who take tickets from it.
    let with_queue = ["queue.kind", "queue.url", "queue.path"].iter().any(|key| config.is_set(key));
    config.check(if with_queue { Needs::Worker } else { Needs::Ticket })?;
    if !config.is_set("log.filter") {
        QUIET.clone_into(&mut config.log.filter);
    }
    settings::carry_out(config, |config, redactor| run(args, with_queue, config, redactor, shutdown))
}

async fn run(
    args: RunArgs,
    with_queue: bool,
    config: Config,
    redactor: Redactor,
    shutdown: Shutdown,
) -> anyhow::Result<ExitStatus> {
    let progress = Arc::new(Progress::new(1, args.json));
    let shown = progress.clone();
    let RunArgs { key, repo, mode, base, task_id, json, settings: _ } = args;
    let ticket = TicketArgs { key, repo, mode, base, task_id, no_lease: !with_queue, json };
    let observer = Arc::new(move |event: &Event| shown.show(event));
    let status = app::ticket(ticket, config, redactor, Some(observer), &shutdown).await;
    progress.finish();
    status
}
