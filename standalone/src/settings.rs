//! Settings and runtime of the commands that work for real.

use jira_agent::config::{Config, ConfigSources};
use jira_agent::exit::ExitStatus;
use jira_agent::program;
use jira_agent::redact::Redactor;

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
    program::carry_out("jira-agent", config, command)
}
