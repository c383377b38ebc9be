//! `doctor`: is everything there that a run needs, and what mends what is not.

mod checks;
mod report;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::exit::ExitStatus;
use crate::http::Http;

pub use report::{Finding, Level};

/// Checks every service and prints what it found to standard output.
///
/// # Errors
/// When the HTTP client cannot be set up or standard output is closed.
pub async fn run(config: &Config, json: bool) -> anyhow::Result<ExitStatus> {
    let findings = examine(config).await?;
    report::print(&findings, json)?;
    let broken = findings.iter().any(|finding| finding.level == Level::Broken);
    Ok(if broken { ExitStatus::Failed } else { ExitStatus::Done })
}

/// Checks every service; the order is that of a run.
///
/// # Errors
/// When the HTTP client cannot be set up.
pub async fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let http = Http::new(&config.http, CancellationToken::new())?;
    let (settings, queue, jira, github, model) = tokio::join!(
        async { checks::settings(config) },
        checks::queue(config, &http),
        checks::jira(config, &http),
        checks::github(config, &http),
        checks::model(config, &http),
    );
    Ok([settings, queue, jira, github, model].into_iter().flatten().collect())
}
