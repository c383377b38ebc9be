//! A release worker as a process of its own, watched through its log.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::broker::Broker;

/// A worker that takes longer to start has come to a stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The worker beside this program.
pub fn worker_program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("jira-agent-worker");
    anyhow::ensure!(path.exists(), "{} is not built; run `scripts/bench`", path.display());
    Ok(path)
}

/// A running worker. Killed when dropped.
pub struct Worker {
    child: Child,
    log: BufReader<ChildStderr>,
    started: Instant,
}

impl Worker {
    /// Starts `jira-agent-worker run` with the settings of a small team. Nothing of them but the broker is connected to
    /// before a task arrives.
    pub fn start(program: &Path, directory: &Path, broker: &Broker) -> anyhow::Result<Self> {
        let config = directory.join("jira-agent.toml");
        std::fs::write(&config, SETTINGS)?;
        let mut command = Command::new(program);
        command
            .arg("run")
            .env_clear()
            .env("JIRA_AGENT_CONFIG", config)
            .env("JIRA_AGENT__WORKER__WORKSPACE_ROOT", directory.join("workspaces"))
            .env("AMQP_URL", broker.url())
            .env("JIRA_API_TOKEN", "token-of-the-bench")
            .env("GITHUB_TOKEN", "token-of-the-bench")
            .env("ANTHROPIC_API_KEY", "token-of-the-bench")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let log = child.stderr.take().context("the worker has no standard error")?;
        Ok(Self { child, log: BufReader::new(log), started })
    }

    /// Waits for the log line that says that it consumes, and gives the time since the start.
    pub async fn consuming(&mut self) -> anyhow::Result<Duration> {
        let mut last = String::new();
        let line = async {
            let mut text = String::new();
            while self.log.read_line(&mut text).await? > 0 {
                let line: Value = serde_json::from_str(&text).unwrap_or_default();
                if line["message"] == "consuming" {
                    return anyhow::Ok(self.started.elapsed());
                }
                last = std::mem::take(&mut text);
            }
            anyhow::bail!("the worker ended before it consumed; its last words: {}", last.trim())
        };
        timeout(PATIENCE, line).await.context("the worker does not consume in time")?
    }

    /// The memory that it holds (`VmRSS`), in bytes: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the worker has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes =
            line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS in its status")?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    }

    /// Ends it.
    pub async fn end(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

const SETTINGS: &str = r#"
[jira]
url = "https://acme.atlassian.net"
email = "agent@example.com"

[github]
reviewers = ["riley"]

[model]
provider = "anthropic"

[[routes]]
repo = "https://github.com/acme/shop"
projects = ["PROJ"]
"#;
