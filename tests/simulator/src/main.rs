//! Serves the simulator for scripts, other processes and clusters.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use jira_agent_simulator::cli::Cli;
use jira_agent_simulator::{Scenario, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a scenario that is not right, as in `sysexits`.
const BAD_INPUT: u8 = 65;

#[tokio::main]
async fn main() -> ExitCode {
    let stderr = std::io::stderr;
    tracing_subscriber::fmt().with_writer(stderr).with_ansi(stderr().is_terminal()).init();
    match run(Cli::parse()).await {
        Ok(problems) => {
            for problem in &problems {
                tracing::error!("{problem}");
            }
            ExitCode::from(u8::from(!problems.is_empty()))
        }
        Err((code, error)) => {
            tracing::error!("{error:#}");
            ExitCode::from(code)
        }
    }
}

/// Serves until SIGINT or SIGTERM; gives what no scenario expected.
async fn run(cli: Cli) -> Result<Vec<String>, (u8, anyhow::Error)> {
    let failed = |error| (1, error);
    let bad = |error| (BAD_INPUT, error);
    let scenario = cli.scenario.as_deref().map(Scenario::read).transpose().map_err(bad)?.unwrap_or_default();
    let base = cli.base();
    let simulator = Simulator::start(cli.options()).await.map_err(failed)?;
    let exports = scenario.exports(simulator.url());
    let filling = tokio::task::spawn_blocking(move || scenario.fill(&simulator, &base).map(|()| simulator));
    let simulator =
        filling.await.context("the scenario could not be filled in").map_err(failed)?.map_err(bad)?;
    serve(&simulator, &exports).await.map_err(failed)?;
    Ok(simulator.finish().err().unwrap_or_default())
}

async fn serve(simulator: &Simulator, exports: &str) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut stdout = std::io::stdout();
    stdout
        .write_all(exports.as_bytes())
        .and_then(|()| stdout.flush())
        .context("the settings cannot be printed")?;
    tracing::info!("serving at {}", simulator.url());
    // Cancel-safe: both wait for a signal and lose nothing.
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}
