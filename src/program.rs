//! What every program does around its command: settings, secrets out of every text, log lines, threads, an exit code.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, ConfigSources, Needs};
use crate::exit::ExitStatus;
use crate::output;
use crate::queue::QueueError;
use crate::redact::Redactor;
use crate::telemetry;

/// Input that cannot be used. The text is for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// A program that is about to run a command.
#[derive(Debug)]
pub struct Program {
    /// Its name, which stands before what it says about itself.
    pub name: &'static str,
    /// The file of `--config`.
    pub config: Option<PathBuf>,
    /// What the command is about to do; `None`: it says itself what is missing.
    pub needs: Option<Needs>,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

impl Program {
    /// Reads the settings and runs the command. An error is told on standard error.
    pub fn run<Work>(self, command: impl FnOnce(Config, Redactor) -> Work) -> ExitStatus
    where
        Work: Future<Output = anyhow::Result<ExitStatus>>,
    {
        let name = self.name;
        self.start(command).unwrap_or_else(|error| {
            output::note(&format!("{name}: {error:#}"));
            status_of(&error)
        })
    }

    fn start<Work>(self, command: impl FnOnce(Config, Redactor) -> Work) -> anyhow::Result<ExitStatus>
    where
        Work: Future<Output = anyhow::Result<ExitStatus>>,
    {
        let config = Config::load(ConfigSources::from_process(self.config))?;
        if let Some(needs) = self.needs {
            config.check(needs)?;
        }
        carry_out(self.name, config, command)
    }
}

/// Runs a command on two threads to its end, with log lines on; no secret is in what it says about an error.
///
/// # Errors
/// When logging or the threads cannot be set up.
pub fn carry_out<Work>(
    name: &str,
    config: Config,
    command: impl FnOnce(Config, Redactor) -> Work,
) -> anyhow::Result<ExitStatus>
where
    Work: Future<Output = anyhow::Result<ExitStatus>>,
{
    let redactor = Redactor::new(config.secrets());
    let _telemetry = telemetry::init(&config.log, redactor.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(command(config, redactor.clone()));
    // A service may repeat in its answer what it was sent.
    Ok(result.unwrap_or_else(|error| {
        output::note(&redactor.redact(&format!("{name}: {error:#}")));
        status_of(&error)
    }))
}

/// The exit code of an error that ends a command: by the first typed error in its chain.
#[must_use]
pub fn status_of(error: &anyhow::Error) -> ExitStatus {
    for cause in error.chain() {
        if cause.is::<BadInput>() {
            return ExitStatus::BadInput;
        }
        if cause.is::<ConfigError>() {
            return ExitStatus::Config;
        }
        if let Some(error) = cause.downcast_ref::<QueueError>() {
            return error.into();
        }
    }
    ExitStatus::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_typed_error_of_a_chain_decides() {
        let of = |error: anyhow::Error| status_of(&error.context("doing something"));
        assert_eq!(of(BadInput("no key".to_owned()).into()), ExitStatus::BadInput);
        assert_eq!(of(ConfigError { problems: Vec::new() }.into()), ExitStatus::Config);
        assert_eq!(of(QueueError::Unreachable(String::new()).into()), ExitStatus::Unavailable);
        assert_eq!(of(anyhow::anyhow!("nobody knows")), ExitStatus::Failed);
    }
}
