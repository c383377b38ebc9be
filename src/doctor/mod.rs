//! `doctor`: is everything there that a run needs, and what mends what is not.

mod checks;
mod embedded;
mod queue;
mod redis_server;
mod report;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{Config, HttpConfig};
use crate::exit::ExitStatus;
use crate::http::Http;
use crate::redact::Redactor;

pub use report::{Finding, Level};

/// How long the examination of one service may take. All services are examined at the same time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one request may take, and how long it may be repeated: who waits for an answer wants a short one.
const REQUEST: Duration = Duration::from_secs(8);
const RETRY_BUDGET: Duration = Duration::from_secs(2);

/// Checks every service and prints what it found to standard output, without secrets. It takes at most about 20 s,
/// also when a service hangs.
///
/// # Errors
/// When the HTTP client cannot be set up or standard output is closed.
pub async fn run(config: &Config, redactor: &Redactor, json: bool) -> anyhow::Result<ExitStatus> {
    let mut findings = examine(config).await?;
    for finding in &mut findings {
        finding.text = redactor.redact(&finding.text).into_owned();
    }
    report::print(&findings, json)?;
    let broken = findings.iter().any(|finding| finding.level == Level::Broken);
    Ok(if broken { ExitStatus::Failed } else { ExitStatus::Done })
}

/// Checks every service; the order is that of a run.
///
/// # Errors
/// When the HTTP client cannot be set up.
pub async fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let http = Http::new(&impatient(&config.http), CancellationToken::new())?;
    let (queue, jira, github, model) = tokio::join!(
        bounded("queue", queue::examine(config, &http)),
        bounded("jira", checks::jira(config, &http)),
        bounded("github", checks::github(config, &http)),
        bounded("model", checks::model(config, &http)),
    );
    Ok([checks::settings(config), queue, jira, github, model].into_iter().flatten().collect())
}

/// The settings of all HTTP with less patience.
fn impatient(http: &HttpConfig) -> HttpConfig {
    HttpConfig {
        connect_timeout: http.connect_timeout.min(REQUEST),
        timeout: http.timeout.min(REQUEST),
        retry_budget: http.retry_budget.min(RETRY_BUDGET),
        ..http.clone()
    }
}

async fn bounded(area: &'static str, findings: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(PATIENCE, findings).await.unwrap_or_else(|_| {
        let text = format!("the checks were not done after {} s", PATIENCE.as_secs());
        vec![Finding::broken(area, text, "the service, or the way to it, is too slow to work with")]
    })
}
