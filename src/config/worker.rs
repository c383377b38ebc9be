use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::domain::Mode;

/// Section `[worker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// Where probes and metrics are served, `host:port`; empty: nowhere.
    pub listen: String,
    /// Where workspaces are made, one directory an attempt; unset: `jira-agent-UID` in the system's directory for
    /// temporary files. What is left there by a dead worker is swept at start.
    #[serde(default)]
    pub workspace_root: Option<PathBuf>,
    /// A run is put off when the workspace's file system has fewer bytes than this free.
    pub min_free_bytes: u64,
    /// A run takes at most this long. Below the broker's `consumer_timeout`.
    #[serde(with = "duration")]
    pub run_deadline: Duration,
    /// After SIGTERM a run may go on for this long.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// Cloning takes at most this long.
    #[serde(with = "duration")]
    pub clone_timeout: Duration,
    /// Pushing takes at most this long.
    #[serde(with = "duration")]
    pub push_timeout: Duration,
    /// A task is dead-lettered after this many failed attempts.
    pub max_attempts: u32,
    /// How often the model may mend a patch that does not apply.
    pub repair_rounds: u32,
    /// How often the model may mend a patch that breaks a check.
    pub correction_rounds: u32,
    /// The mode when nothing else names one.
    pub default_mode: Mode,
    /// Labels that choose mode `quickfix`.
    pub quickfix_labels: Vec<String>,
    /// Labels that choose mode `plan`.
    pub plan_labels: Vec<String>,
    /// The most files the model is shown.
    pub context_files: usize,
    /// The most lines of one file the model is shown.
    pub context_lines: usize,
    /// Paths (globs) that a patch may not touch.
    pub protected_paths: Vec<String>,
}
