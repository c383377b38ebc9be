//! Tickets carried through a fleet of real worker processes while everything fails on a seeded schedule: `scripts/chaos`.
//!
//! `schedule` says what is planned, `drive` does it, `look` sees what is there afterwards, and `verdict` judges it.

mod broker;
mod cli;
mod drive;
mod faults;
mod look;
mod overlap;
mod proxy;
mod report;
mod schedule;
mod tally;
mod verdict;
mod workers;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use clap::Parser as _;
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use tokio::signal::unix::SignalKind;

use broker::Broker;
use cli::Cli;
use drive::Driver;
use report::Report;
use schedule::{Schedule, Size};
use workers::{Fleet, Recipe};
use world::World;

fn main() -> ExitCode {
    let status = run(&Cli::parse()).unwrap_or_else(|error| {
        output::note(&format!("chaos: {error:#}"));
        ExitStatus::Failed
    });
    status.into()
}

fn run(cli: &Cli) -> anyhow::Result<ExitStatus> {
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let (runs, workers) = (usize::try_from(cli.runs)?, usize::try_from(cli.workers)?);
    let size = Size { runs, workers, transport: cli.transport, seed };
    let schedule = Schedule::draw(&size);
    if cli.print_schedule {
        output::line(schedule.to_string().trim_end())?;
        return Ok(ExitStatus::Done);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(carry_out(cli, &size, &schedule))?;
    output::line(&report.text)?;
    Ok(if report.is_good { ExitStatus::Done } else { ExitStatus::Failed })
}

async fn carry_out(cli: &Cli, size: &Size, schedule: &Schedule) -> anyhow::Result<Report> {
    jira_agent::tls::install_crypto_provider();
    let again = format!(
        "--transport {} --runs {} --workers {} --seed {}",
        size.transport.name(),
        size.runs,
        size.workers,
        size.seed
    );
    output::note(&format!("chaos: {again}"));
    let temporary = tempfile::Builder::new().prefix("jira-agent-chaos-").tempdir()?;
    let directory = cli.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let directory = std::path::absolute(directory)?;
    let broker = Broker::start(size.transport, &directory).await?;
    let world = World::start(schedule.repositories).await?;
    let settings = world.write_settings(&directory, &broker.section())?;
    let environment = environment(&settings, &broker);
    let queue = broker.queue(&settings, &environment).await?;
    let recipe = Recipe { program: worker_program()?, directory: directory.clone(), environment };
    let fleet = Fleet::start(recipe, size.workers)?;
    let started = Instant::now();
    let mut driver = Driver::new(world, broker, queue, fleet, size.seed);
    // Cancel-safe: an interrupted run is given up; its workers are killed when they are dropped.
    let letters = tokio::select! {
        letters = driver.run(schedule, size.workers) => letters,
        () = interrupted() => Err(anyhow!("interrupted")),
    };
    let report = letters.and_then(|letters| report::write(&driver, &letters, started.elapsed(), &again));
    if !report.as_ref().is_ok_and(|report| report.is_good) && cli.keep.is_none() {
        let kept = temporary.keep();
        output::note(&format!("chaos: the logs are in {}", kept.display()));
    }
    report.context("there is no verdict")
}

/// Ends with SIGINT or SIGTERM, so that no worker outlives this program.
async fn interrupted() {
    let signal = |kind| tokio::signal::unix::signal(kind);
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    // Cancel-safe: both only wait.
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// What every worker gets, and our own settings too.
fn environment(settings: &Path, broker: &Broker) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> =
        World::secrets().iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    environment.push(("JIRA_AGENT_CONFIG".to_owned(), settings.display().to_string()));
    environment.push(("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()));
    if let Some(address) = broker.address() {
        environment.push(("JIRA_AGENT__QUEUE__URL".to_owned(), address.to_owned()));
    }
    environment
}

/// The worker that was built beside this program.
fn worker_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("jira-agent-worker");
    ensure!(program.exists(), "{} is not built: run `scripts/chaos`", program.display());
    Ok(program)
}
