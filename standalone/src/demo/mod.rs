//! `demo`: one ticket to one pull request with the worker's own code, and no account anywhere.

mod scene;
mod show;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jira_agent::config::Config;
use jira_agent::domain::{Event, EventKind, Task};
use jira_agent::exit::ExitStatus;
use jira_agent::queue::TaskQueue;
use jira_agent::queue::memory::MemoryQueue;
use jira_agent::redact::Redactor;
use jira_agent::shutdown::Shutdown;
use jira_agent::telemetry;
use jira_agent_worker::consumer::{Until, Worker};
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use scene::Scene;
use show::Show;

/// With a real model the demo takes as long as that does, but not longer than this.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Runs the command.
///
/// # Errors
/// When the demonstration did not end with a pull request.
pub fn main(args: &DemoArgs) -> anyhow::Result<ExitStatus> {
    let shutdown = Shutdown::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(args, &shutdown))
}

async fn run(args: &DemoArgs, shutdown: &Shutdown) -> anyhow::Result<ExitStatus> {
    let started = Instant::now();
    let scene = Scene::set().await.context("the demo cannot start")?;
    let config = scene.config(args)?;
    let redactor = Redactor::new(config.secrets());
    let _telemetry = telemetry::init(&config.log, redactor.clone())?;
    show::opening(&scene, &config, args);
    let before = scene.ticket()?;
    // Cancel-safe: whoever stops the demonstration wants nothing of it; what is dropped removes its directories.
    tokio::select! {
        done = work(config, redactor) => done?,
        () = shutdown.token().cancelled_owned() => bail!("stopped before the pull request was open"),
    }
    show::ending(&scene, &before, started.elapsed())?;
    if args.keep {
        show::addresses(&scene);
        shutdown.token().cancelled().await;
    }
    Ok(ExitStatus::Done)
}

/// The queue and one worker, as in a fleet, until the one task is settled.
async fn work(config: Config, redactor: Redactor) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let services = jira_agent_worker::app::build(config, redactor, shutdown.clone())?;
    let queue = Arc::new(MemoryQueue::default());
    let show = Arc::new(Show::begin());
    let last = Arc::new(std::sync::Mutex::new(None::<EventKind>));
    let observer = {
        let (show, last) = (show.clone(), last.clone());
        Arc::new(move |event: &Event| {
            if let Ok(mut last) = last.lock() {
                *last = Some(event.kind);
            }
            show.event(event);
        })
    };
    queue.publish(&Task::new(scene::TICKET.parse()?)).await?;
    let worker = Worker::new(services, queue.clone(), shutdown).observed(observer);
    let done = tokio::time::timeout(LIMIT, worker.run(Until { once: true, idle: None })).await;
    show.finish();
    done.context("the demonstration took too long")??;
    let end = last.lock().ok().and_then(|last| *last);
    match end {
        Some(EventKind::Succeeded) if queue.depth() == 0 => Ok(()),
        _ => {
            let letters = queue.dead_letters(10).await?;
            let reasons =
                letters.into_iter().filter_map(|letter| letter.reason).collect::<Vec<_>>().join("; ");
            bail!("the run did not end with a pull request; {reasons}")
        }
    }
}
