//! Settings and runtime of the commands that work for real.

use jira_agent::config::{Config, ConfigSources};
use jira_agent::exit::ExitStatus;
use jira_agent::program::status_of;
use jira_agent::redact::Redactor;
use jira_agent::{output, telemetry};

use crate::cli::SettingsArgs;

/// Reads the settings as the worker does.
///
/// # Errors
/// With every setting that cannot be read.
pub fn load(args: &SettingsArgs) -> anyhow::Result<Config> {
    Ok(Config::load(ConfigSources::from_process(args.config.clone()))?)
}

/// Runs a command to its end, with log lines on; no secret is in what it says.
///
/// # Errors
/// When logging or the runtime cannot be set up.
pub fn carry_out<F>(config: Config, command: impl FnOnce(Config, Redactor) -> F) -> anyhow::Result<ExitStatus>
where
    F: Future<Output = anyhow::Result<ExitStatus>>,
{
    let redactor = Redactor::new(config.secrets());
    let _telemetry = telemetry::init(&config.log, redactor.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(command(config, redactor.clone()));
    // A service's words may hold what they were sent.
    Ok(result.unwrap_or_else(|error| {
        output::note(&redactor.redact(&format!("jira-agent: {error:#}")));
        status_of(&error)
    }))
}
