//! The settings, one file per section. `config.default.toml` documents every key.

mod alias;
mod assemble;
mod duration;
mod git;
mod github;
mod http;
mod jira;
mod keys;
mod load;
mod log;
mod model;
mod problem;
mod queue;
mod route;
mod secret_files;
mod secrets;
#[cfg(test)]
mod tests;
mod validate;
mod worker;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use duration::parse as parse_duration;
pub use git::GitConfig;
pub use github::GitHubConfig;
pub use http::HttpConfig;
pub use jira::{JiraConfig, JiraDeployment};
pub use load::{ConfigSources, DEFAULTS};
pub use log::{LogConfig, LogFormat};
pub use model::{ModelConfig, ModelPrices, ModelProvider};
pub use problem::{ConfigError, Problem};
pub use queue::{QueueConfig, QueueKind};
pub use route::RouteConfig;
pub use validate::Needs;
pub use worker::WorkerConfig;

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where tasks come from.
    pub queue: QueueConfig,
    /// The ticket system.
    pub jira: JiraConfig,
    /// The code host.
    pub github: GitHubConfig,
    /// Which ticket belongs to which repository; first match wins.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// The model.
    pub model: ModelConfig,
    /// The worker.
    pub worker: WorkerConfig,
    /// Branches and commits.
    pub git: GitConfig,
    /// All outgoing HTTP.
    pub http: HttpConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Where each key that is set is from, in words.
    #[serde(skip)]
    origins: BTreeMap<String, String>,
    /// Secrets whose files cannot be read: problems for whoever needs them.
    #[serde(skip)]
    unreadable: Vec<Problem>,
}
