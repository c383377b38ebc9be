//! The composition root: from settings to clients, and from a command to an exit code.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use jiff::Timestamp;
use jira_agent::config::{Config, ConfigError, Needs, Problem};
use jira_agent::domain::{EventKind, InvalidId, InvalidRepository, Outcome, Task};
use jira_agent::exit::ExitStatus;
use jira_agent::http::Http;
use jira_agent::output;
use jira_agent::program::{BadInput, Program};
use jira_agent::queue::tiers::Tiers;
use jira_agent::queue::{self, QueueError, TaskQueue};
use jira_agent::redact::Redactor;
use jira_agent::shutdown::Shutdown;
use jira_agent::status::StatusServer;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::cli::{Cli, Command, RunArgs, TicketArgs};
use crate::consumer::{self, Stopped, Until, Worker};
use crate::failure::{self, Failure};
use crate::git::Transfers;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::offline;
use crate::pipeline::{self, Attempt};
use crate::probe::Probe;
use crate::recall::{Listener, Recall};
use crate::run_log::{Observer, RunLog};
use crate::services::Services;
use crate::step_note;
use crate::steps::{self, claim::LeaseSource};
use crate::workspace_dir::{self, UnfitRoot};
use crate::world::World as _;
use jira_agent::tickets::Tickets;

/// Runs the program.
#[must_use]
pub fn main(cli: Cli) -> ExitStatus {
    let needs = needs(&cli.command);
    // First of all: what works on tickets comes to an end in good order however early it is told to.
    let works = matches!(cli.command, Command::Run(_) | Command::Ticket(_));
    let shutdown = if works { Shutdown::install() } else { Ok(Shutdown::new()) };
    let program = Program { name: "jira-agent-worker", config: cli.config.clone(), needs };
    program.run(|config, redactor| run(cli, config, redactor, shutdown))
}

fn needs(command: &Command) -> Option<Needs> {
    match command {
        Command::Run(_) => Some(Needs::Worker),
        Command::Ticket(args) if args.no_lease => Some(Needs::Ticket),
        Command::Ticket(_) => Some(Needs::Worker),
        // `doctor` reports what is missing itself.
        Command::Context(_) | Command::Apply(_) | Command::Transfer | Command::Doctor(_) => None,
    }
}

async fn run(
    cli: Cli,
    config: Config,
    redactor: Redactor,
    shutdown: io::Result<Shutdown>,
) -> anyhow::Result<ExitStatus> {
    let shutdown = shutdown.context("cannot listen for signals")?;
    match cli.command {
        Command::Run(args) => consume(args, config, redactor, &shutdown).await,
        Command::Ticket(args) => ticket(args, config, redactor, None, &shutdown).await,
        Command::Context(args) => offline::context(&args, &config),
        Command::Apply(args) => offline::apply(&args, &config),
        Command::Doctor(args) => jira_agent::doctor::run(&config, &redactor, args.json).await,
        Command::Transfer => Ok(ExitStatus::Usage),
    }
}

/// Makes every client; opens no connection.
///
/// # Errors
/// When a setting cannot be used: a certificate file, a proxy, an address.
pub fn build(config: Config, redactor: Redactor, cancel: CancellationToken) -> anyhow::Result<Arc<Services>> {
    let http = Http::new(&config.http, cancel)?;
    let tickets = Tickets::by(&config, &http)?;
    let model = Model::new(&config.model, http).context("section [model]")?;
    let breaker = Breaker::new(&Tiers::new(&config.queue.retry_delays));
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let transfers = Transfers::new(program, &config.http);
    Ok(Arc::new(Services {
        tickets,
        model,
        transfers,
        breaker,
        metrics: Metrics::default(),
        redactor,
        config,
    }))
}

async fn consume(
    args: RunArgs,
    config: Config,
    redactor: Redactor,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitStatus> {
    // A request that is retried goes on while a run finishes after SIGTERM.
    let services = build(config, redactor, CancellationToken::new())?;
    prepare_workspaces(&services).await?;
    let Some(queue) = open_queue(&services, "jira-agent-worker", shutdown.token()).await? else {
        return Ok(ExitStatus::Done);
    };
    let until = Until { once: args.once, idle: args.idle_exit };
    let probe = Probe::new(services.clone(), shutdown.token());
    let _server = serve(&services.config.worker.listen, probe.clone()).await;
    let worker = Worker::new(services, queue.clone(), shutdown.token()).probed(probe);
    // In a task, where the queue's own tasks are: a delivery then wakes one thread on its way and not two.
    let running = tokio::spawn(async move { worker.run(until).await });
    let stopped = running.await.unwrap_or_else(|ended| match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Only a runtime that goes down cancels it.
        Err(_) => Ok(Stopped::Shutdown),
    });
    queue.close().await;
    if let Ok(why) = &stopped {
        tracing::info!(why = ?why, "the worker stops");
    }
    stopped?;
    Ok(ExitStatus::Done)
}

/// The queue that the settings name, once it was looked whether it lets a run take its time; `None` when `stop` came
/// first.
///
/// # Errors
/// When a setting cannot be used, or the queue is away or does not let runs take their time.
pub async fn open_queue(
    services: &Services,
    name: &str,
    stop: CancellationToken,
) -> anyhow::Result<Option<Arc<dyn TaskQueue>>> {
    // Cancel-safe: nothing is held before the first delivery.
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            tracing::info!("the worker stops before it has begun");
            Ok(None)
        }
        queue = open(services, name, stop.clone()) => queue.map(Some),
    }
}

async fn open(
    services: &Services,
    name: &str,
    cancel: CancellationToken,
) -> anyhow::Result<Arc<dyn TaskQueue>> {
    let config = &services.config;
    let queue = queue::connect(&config.queue, name).await?;
    let http = Http::new(&config.http, cancel)?;
    for words in queue.preflight(&http, config.worker.run_deadline + config.time_to_end()).await? {
        tracing::info!("{words}");
    }
    Ok(queue)
}

/// Serves probes and metrics where the settings say; a port that is taken is no reason not to work.
pub async fn serve(address: &str, probe: Arc<Probe>) -> Option<StatusServer> {
    if address.is_empty() {
        return None;
    }
    match StatusServer::start(address, probe).await {
        Ok(server) => {
            tracing::info!(address = %server.address(), "probes and metrics are served");
            Some(server)
        }
        Err(error) => {
            tracing::warn!(address, %error, "no probes and metrics: another program may listen there; set worker.listen");
            None
        }
    }
}

/// Sees to it that workspaces can be made safely, and removes those of workers that died.
///
/// # Errors
/// When somebody else could put something in the place of a workspace.
pub async fn prepare_workspaces(services: &Services) -> anyhow::Result<()> {
    let root = steps::workspace::root(services);
    let prepare = move || {
        workspace_dir::prepare_root(&root).map_err(|unfit| unusable(&root, &unfit))?;
        match workspace_dir::sweep(&root) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "workspaces of dead workers were removed"),
            Err(error) => tracing::warn!(%error, "the workspaces of dead workers could not be removed"),
        }
        if let Err(error) = step_note::sweep(&root, SystemTime::now()) {
            tracing::warn!(%error, "the notes of dead workers could not be removed");
        }
        Ok(())
    };
    tokio::task::spawn_blocking(prepare).await?
}

fn unusable(root: &Path, unfit: &UnfitRoot) -> anyhow::Error {
    let problem = Problem {
        field: "worker.workspace_root".to_owned(),
        source: root.display().to_string(),
        why: unfit.to_string(),
        fix: "set a directory that this user owns and nobody else may write to; one that is not there is made so"
            .to_owned(),
    };
    ConfigError { problems: vec![problem] }.into()
}

/// Works on one ticket, here and now, and tells how it ended; events are shown to `observer` as they happen.
///
/// # Errors
/// When the key, the repository or a setting cannot be used, or the queue is away.
pub async fn ticket(
    args: TicketArgs,
    config: Config,
    redactor: Redactor,
    observer: Option<Observer>,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitStatus> {
    let key = args.key.parse().map_err(|error: InvalidId| BadInput(error.to_string()))?;
    let repository = args.repo.as_deref().map(str::parse).transpose();
    let repository = repository.map_err(|error: InvalidRepository| BadInput(format!("--repo: {error}")))?;
    // A request that is retried goes on while the run finishes after SIGTERM.
    let services = build(config, redactor, CancellationToken::new())?;
    prepare_workspaces(&services).await?;
    let mut task = Task::new(key);
    task.id = args.task_id.unwrap_or(task.id);
    task.repository = repository;
    task.mode = args.mode;
    task.base_branch = args.base;
    task.requested_at = Some(Timestamp::now());
    let queue = if args.no_lease {
        output::note(
            "without a queue there is no lease: another worker may take the same ticket, and only the \
                      compare-and-swap push and the find-or-create effects keep the two apart",
        );
        None
    } else {
        Some(queue::connect(&services.config.queue, "jira-agent-worker ticket").await?)
    };
    output::note(&format!("run {} of {}", task.id, task.ticket));
    let end = one_run(&services, task.clone(), queue.clone(), observer, &shutdown.token()).await;
    let status = report(&services, &task, end, args.json).await;
    if let Some(queue) = queue {
        queue.close().await;
    }
    status
}

/// Runs one task without a delivery: no retry, no dead letter, the answer goes to the caller.
///
/// # Errors
/// As [`pipeline::run`], and when the run takes too long or is stopped.
pub async fn one_run(
    services: &Services,
    task: Task,
    queue: Option<Arc<dyn TaskQueue>>,
    observer: Option<Observer>,
    stop: &CancellationToken,
) -> anyhow::Result<Attempt> {
    if stop.is_cancelled() {
        return Err(failure::Transient("the run was stopped before it began".to_owned()).into());
    }
    let leases = queue.as_deref().map_or(LeaseSource::Nobody, LeaseSource::Queue);
    let listener = queue.clone().map(Listener::start);
    let mut recall = listener.as_ref().map_or_else(|| Recall::none(&task), |listener| listener.about(&task));
    let mut log = RunLog::new(&task, 1, services.redactor.clone(), queue.clone(), observer);
    let deadline = services.config.worker.run_deadline;
    let cancel = CancellationToken::new();
    let run = task.id;
    // Cancel-safe: dropping the run stops it between two effects; every effect can be found again.
    let result = tokio::select! {
        result = pipeline::run(services, task, leases, &mut log, &cancel, &mut recall) => result,
        () = tokio::time::sleep(deadline) => {
            Err(consumer::too_long(deadline, services.last_step(run).as_deref()))
        }
        () = consumer::drained(stop, services.config.worker.drain_timeout) => Err(failure::Transient(
            format!("the run was stopped; start it again with --task-id {run}")
        ).into()),
    };
    // Where it died is asked of a delivery only.
    services.forget_step(run);
    if let Err(error) = &result
        && failure::classify(error) == Failure::Permanent
    {
        let reason = services.redactor.redact(&format!("{error:#}")).into_owned();
        log.record(EventKind::Failed, serde_json::json!({ "reason": reason })).await;
    }
    log.flush().await;
    result
}

/// Tells how it ended: data to standard output, in JSON when asked for, and a reason for people to standard error. The
/// ticket hears of a failure that stays.
async fn report(
    services: &Services,
    task: &Task,
    end: anyhow::Result<Attempt>,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let (status, document, words) = match end {
        Ok(Attempt::Ended(outcome)) => {
            let status = if consumer::is_success(&outcome) { ExitStatus::Done } else { ExitStatus::Failed };
            if !json {
                output::line(&sentence(&outcome))?;
            }
            (status, serde_json::to_value(&outcome)?, None)
        }
        Ok(Attempt::AlreadyEnded) => {
            let words = "this run has ended before; nothing was done".to_owned();
            (ExitStatus::Done, json!({"outcome": "already_ended"}), Some(words))
        }
        Ok(Attempt::Busy) => {
            let words = "another worker works on this ticket".to_owned();
            (ExitStatus::TryLater, json!({"outcome": "busy"}), Some(words))
        }
        Err(error) => {
            let mut reason = services.redactor.redact(&format!("{error:#}")).into_owned();
            let status = status_of_run(&error);
            if status == ExitStatus::Failed {
                reason = steps::report::failed(services, task, reason, 1).await;
            }
            let document = json!({"outcome": "failed", "reason": reason});
            (status, document, Some(format!("the run failed: {reason}")))
        }
    };
    if json {
        output::line(&document.to_string())?;
    }
    if let Some(words) = words {
        output::note(&words);
    }
    Ok(status)
}

fn status_of_run(error: &anyhow::Error) -> ExitStatus {
    if let Some(queue) = error.chain().find_map(|cause| cause.downcast_ref::<QueueError>()) {
        return queue.into();
    }
    match failure::classify(error) {
        Failure::Permanent => ExitStatus::Failed,
        _ => ExitStatus::TryLater,
    }
}

fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::PullRequestOpened { url, .. }
        | Outcome::PullRequestUpdated { url, .. }
        | Outcome::PlanProposed { url, .. } => format!("{} {url}", outcome.word()),
        Outcome::NothingToChange { reason }
        | Outcome::NeedsHuman { reason }
        | Outcome::Superseded { reason } => format!("{}: {reason}", outcome.word()),
        Outcome::Cancelled { by } => format!("cancelled by {by}"),
    }
}
