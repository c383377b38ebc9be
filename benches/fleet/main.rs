//! How fast the product is, measured against a named peer in the same run, in turns: `make bench`.
//!
//! Every measurement is a file of its own that gives [`Row`]s; `main` only prints and judges them.

mod broker;
mod claim;
mod cli;
mod clone;
mod consume;
mod process;
mod start;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use jira_agent::exit::ExitStatus;
use jira_agent::output;

use broker::Broker;
use cli::{Cli, Measurement};
use table::Row;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let check = cli.check;
    let status = run(cli).and_then(|rows| report(&rows, check));
    status
        .unwrap_or_else(|error| {
            output::note(&format!("bench: {error:#}"));
            ExitStatus::Failed
        })
        .into()
}

/// As the worker does it: two threads, and the work in a task on one of them. The peers in this process have the same.
fn run(cli: Cli) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::spawn(measure(cli)).await? })
}

async fn measure(cli: Cli) -> anyhow::Result<Vec<Row>> {
    let program = process::worker_program()?;
    let mut rows = Vec::new();
    for measurement in cli.measurements() {
        let name = measurement.name();
        output::note(&format!("bench: {name} …"));
        let measured = match measurement {
            Measurement::Consume => consume::rows(&Broker::from_environment()?, &cli).await,
            Measurement::Rabbitmq => claim::rabbitmq(&Broker::from_environment()?, &cli).await,
            Measurement::Redis => claim::redis(&cli).await,
            Measurement::Sqlite => claim::sqlite(&cli).await,
            Measurement::Clone => clone::rows(&program, &cli).await,
            Measurement::Start => start::start(&program, &Broker::from_environment()?, &cli).await,
            Measurement::Memory => start::memory(&program, &Broker::from_environment()?).await,
        };
        rows.extend(measured.context(name)?);
    }
    Ok(rows)
}

fn report(rows: &[Row], check: bool) -> anyhow::Result<ExitStatus> {
    output::line(&table::render(rows))?;
    let missed = rows.iter().filter(|row| !row.is_met()).count();
    if missed == 0 {
        return Ok(ExitStatus::Done);
    }
    output::note(&format!("bench: {missed} of {} limits missed", rows.len()));
    Ok(if check { ExitStatus::Failed } else { ExitStatus::Done })
}
