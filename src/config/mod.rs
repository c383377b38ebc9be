//! The settings, one file per section. `config.default.toml` documents every key.

mod duration;
mod git;
mod github;
mod http;
mod jira;
mod log;
mod model;
mod queue;
mod route;
mod worker;

use serde::Deserialize;

pub use git::GitConfig;
pub use github::GitHubConfig;
pub use http::HttpConfig;
pub use jira::{JiraConfig, JiraDeployment};
pub use log::{LogConfig, LogFormat};
pub use model::{ModelConfig, ModelPrices, ModelProvider};
pub use queue::{QueueConfig, QueueKind};
pub use route::RouteConfig;
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
}
