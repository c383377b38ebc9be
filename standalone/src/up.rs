//! `up`: everything that one machine needs, in one process.

use jira_agent::config::{Config, Needs, QueueKind};
use jira_agent::exit::ExitStatus;
use jira_agent::output::{note, shell_word};
use jira_agent::queue::QueueError;
use jira_agent::queue::sqlite::Place;
use jira_agent::redact::Redactor;
use jira_agent::shutdown::Shutdown;
use jira_agent_worker::app;
use jira_agent_worker::consumer::{Until, Worker};
use jira_agent_worker::probe::Probe;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::settings;

/// Runs the command.
///
/// # Errors
/// When settings are missing or cannot be used, or the queue cannot be opened.
pub fn main(args: &UpArgs) -> anyhow::Result<ExitStatus> {
    let shutdown = Shutdown::install()?;
    let mut config = settings::load(&args.settings)?;
    if !config.is_set("queue.kind") {
        config.queue.kind = QueueKind::Sqlite;
    }
    config.check(Needs::Worker)?;
    settings::carry_out(config, |config, redactor| up(args, config, redactor, shutdown))
}

/// The parts of the product side by side: when one of them fails, the others come to an end in good order.
async fn up(
    args: &UpArgs,
    config: Config,
    redactor: Redactor,
    shutdown: Shutdown,
) -> anyhow::Result<ExitStatus> {
    // A request that is retried goes on while a run finishes after SIGTERM.
    let services = app::build(config, redactor, CancellationToken::new())?;
    app::prepare_workspaces(&services).await?;
    let Some(queue) = app::open_queue(&services, "jira-agent up", shutdown.token()).await? else {
        return Ok(ExitStatus::Done);
    };
    say(args, &services.config)?;
    let probe = Probe::new(services.clone(), shutdown.token());
    let _server = app::serve(&services.config.worker.listen, probe.clone()).await;
    let mut parts = JoinSet::new();
    for _ in 0..args.workers {
        let worker = Worker::new(services.clone(), queue.clone(), shutdown.token()).probed(probe.clone());
        parts.spawn(work(worker));
    }
    let ended = all(parts, &shutdown).await;
    queue.close().await;
    ended?;
    note("jira-agent up: stopped");
    Ok(ExitStatus::Done)
}

async fn work(worker: Worker) -> Result<(), QueueError> {
    worker.run(Until::default()).await.map(|_| ())
}

/// Waits for every part. The first that fails ends the others, and its error is the answer.
async fn all(mut parts: JoinSet<Result<(), QueueError>>, shutdown: &Shutdown) -> Result<(), QueueError> {
    let mut answer = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that goes down cancels it.
            Err(_) => Ok(()),
        });
        shutdown.request();
        answer = answer.and(ended);
    }
    answer
}

/// What it does, and how to give it something to do.
fn say(args: &UpArgs, config: &Config) -> Result<(), QueueError> {
    let workers = match args.workers {
        1 => "1 worker takes tickets".to_owned(),
        many => format!("{many} workers take tickets"),
    };
    match config.queue.kind {
        QueueKind::Sqlite => {
            let path = Place::of(&config.queue)?.absolute().display().to_string();
            note(&format!("jira-agent up: {workers} from the queue in {path}"));
            let mut variables = "JIRA_AGENT__QUEUE__KIND=sqlite".to_owned();
            if config.queue.path.is_some() {
                variables = format!("{variables} JIRA_AGENT__QUEUE__PATH={}", shell_word(&path));
            }
            note(&format!(
                "  give it one from another shell:  {variables} jira-agent-producer enqueue PROJ-123"
            ));
        }
        QueueKind::Rabbitmq | QueueKind::Redis => {
            note(&format!("jira-agent up: {workers} from the queue of queue.kind and queue.url"));
            note(
                "  give it one from another shell, with the same settings:  jira-agent-producer enqueue PROJ-123",
            );
        }
    }
    note("  stop it with Ctrl-C or SIGTERM: runs under way may finish, what waits stays in the queue");
    Ok(())
}
