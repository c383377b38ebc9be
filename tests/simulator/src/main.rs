//! Serves the simulator for scripts, other processes and clusters.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use jira_agent_simulator::cli::Cli;
use jira_agent_simulator::{Scenario, Simulator, SimulatorOptions};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Cli::parse()).await {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                tracing::error!("{problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGINT or SIGTERM; gives what no scenario expected.
async fn run(cli: Cli) -> anyhow::Result<Vec<String>> {
    let scenario = cli
        .scenario
        .as_deref()
        .map(Scenario::read)
        .transpose()?
        .unwrap_or_default();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let options = SimulatorOptions {
        listen: cli.listen,
        public_url: cli.public_url,
        journal_file: cli.journal_file,
        keep_authorization: false,
    };
    let simulator = Simulator::start(options).await?;
    let settings = scenario.settings(simulator.url());
    let base = cli
        .scenario
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new(""))
        .to_owned();
    let simulator =
        tokio::task::spawn_blocking(move || scenario.fill(&simulator, &base).map(|()| simulator)).await??;
    let mut lines = String::new();
    for (name, value) in settings {
        lines += &format!("export {name}={value}\n");
    }
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(lines.as_bytes())
        .and_then(|()| stdout.flush())
        .context("the settings cannot be printed")?;
    drop(stdout);
    tracing::info!("serving at {}", simulator.url());
    // Cancel-safe: both wait for a signal and lose nothing.
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(simulator.finish().err().unwrap_or_default())
}
