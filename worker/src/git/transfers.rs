//! The parent's side: starts a transfer child, listens, and ends it in time.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jira_agent::config::HttpConfig;
use jira_agent::domain::{BranchName, CommitId, RepoUrl};
use jira_agent::secret::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::GitError;
use super::child::TRANSFER_COMMAND;
use super::link::other;
use super::protocol::{FetchOutcome, Job, Line, Network, Progress, PushOutcome, TransferRequest};

/// No line of the child is longer than this.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// What the child keeps of the environment: where the system's certificate authorities are.
const KEPT_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What to fetch into a git directory, which is made if it is not there.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The repository.
    pub url: RepoUrl,
    /// The bare repository on disk.
    pub git_dir: PathBuf,
    /// A token that may read the repository; none for a public one.
    pub token: Option<Secret>,
    /// The branch to start from; none: the remote's default branch.
    pub base: Option<BranchName>,
    /// The agent's branch, fetched too when the remote has it.
    pub agent_branch: Option<BranchName>,
    /// Commits of the base branch; 1 for a clone, more to find a merge base.
    pub base_depth: u32,
    /// Commits of the agent's branch; 50 shows what earlier runs have done.
    pub agent_depth: u32,
}

/// What to push from a git directory.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The repository.
    pub url: RepoUrl,
    /// The bare repository on disk.
    pub git_dir: PathBuf,
    /// A token that may write the branch.
    pub token: Option<Secret>,
    /// The commit to push.
    pub commit: CommitId,
    /// The branch to move.
    pub branch: BranchName,
    /// Where the branch must be before; none: it must not exist.
    pub expected: Option<CommitId>,
}

/// Runs transfers, each in a child process of its own.
#[derive(Debug, Clone)]
pub struct Transfers {
    program: PathBuf,
    http: HttpConfig,
}

impl Transfers {
    /// `program` is a binary whose `main` calls [`transfer_main`](super::transfer_main) for the subcommand
    /// [`TRANSFER_COMMAND`]: normally `std::env::current_exe()`.
    #[must_use]
    pub fn new(program: PathBuf, http: &HttpConfig) -> Self {
        Self { program, http: http.clone() }
    }

    /// Fetches one branch, and the agent's branch when the remote has it.
    ///
    /// # Errors
    /// [`GitError`]; `Cancelled` and `TimedOut` come after the child is gone.
    pub async fn fetch(
        &self,
        request: FetchRequest,
        cancel: &CancellationToken,
        timeout: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<FetchOutcome, GitError> {
        let FetchRequest { url, git_dir, token, base, agent_branch, base_depth, agent_depth } = request;
        let job = Job::Fetch { base, agent_branch, base_depth, agent_depth };
        let started = Instant::now();
        match self.run(self.request(url, &git_dir, token, job), cancel, timeout, progress).await? {
            Line::Fetched(outcome) => Ok(FetchOutcome { duration: started.elapsed(), ..outcome }),
            line => Err(unexpected(&line)),
        }
    }

    /// Pushes one commit to one branch under a lease.
    ///
    /// # Errors
    /// [`GitError`]; a refusal is an outcome, not an error. After `Cancelled`, `TimedOut` and `Unreachable` the push
    /// may have happened: push again to learn it.
    pub async fn push(
        &self,
        request: PushRequest,
        cancel: &CancellationToken,
        timeout: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<PushOutcome, GitError> {
        let PushRequest { url, git_dir, token, commit, branch, expected } = request;
        let job = Job::Push { commit, branch, expected };
        match self.run(self.request(url, &git_dir, token, job), cancel, timeout, progress).await? {
            Line::Pushed(outcome) => Ok(outcome),
            line => Err(unexpected(&line)),
        }
    }

    fn request(&self, url: RepoUrl, git_dir: &Path, token: Option<Secret>, job: Job) -> TransferRequest {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let network = Network {
            proxy: self.http.proxy.clone().or_else(|| proxy_of_environment(url.origin().scheme())),
            no_proxy: self.http.proxy.is_none().then(|| variable(&["no_proxy", "NO_PROXY"])).flatten(),
            ca_file: self.http.ca_file.as_deref().map(absolute),
            connect_timeout: self.http.connect_timeout,
            idle_timeout: self.http.timeout,
        };
        TransferRequest { url, git_dir: absolute(git_dir), token, network, job }
    }

    async fn run(
        &self,
        request: TransferRequest,
        cancel: &CancellationToken,
        timeout: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<Line, GitError> {
        let host = request.url.authority();
        let mut running = Running::start(&self.program)?;
        // Cancel-safe: whichever branch loses is not polled again, and the child is killed below.
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(GitError::Cancelled),
            result = running.converse(request, progress) => result,
            () = tokio::time::sleep(timeout) => {
                let waiting = "without an end of the transfer".to_owned();
                Err(GitError::TimedOut { host, limit: timeout, waiting })
            }
        };
        running.end().await;
        match result? {
            Line::Failed(error) => Err(error),
            line => Ok(line),
        }
    }
}

/// A child and its pipes. Killed with its whole process group when dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
    /// Kept open: the child ends itself when this pipe closes.
    input: ChildStdin,
    lines: FramedRead<ChildStdout, LinesCodec>,
}

impl Running {
    fn start(program: &Path) -> Result<Self, GitError> {
        let mut command = Command::new(program);
        command
            .arg(TRANSFER_COMMAND)
            .env_clear()
            // No user, no configuration: a directory that does not exist is as empty as one can be.
            .env("HOME", "/nonexistent")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let start = |error| other(format!("cannot start {} {TRANSFER_COMMAND}: {error}", program.display()));
        let mut child = command.spawn().map_err(start)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(other("the transfer process has no pipes".to_owned()));
        };
        let lines = FramedRead::new(output, LinesCodec::new_with_max_length(MAX_LINE_BYTES));
        Ok(Self { child, group, input, lines })
    }

    /// Hands over the request and listens until the last line.
    async fn converse(
        &mut self,
        request: TransferRequest,
        mut progress: impl FnMut(Progress),
    ) -> Result<Line, GitError> {
        // Sized at once, so that no copy with the token stays behind in memory.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES));
        serde_json::to_writer(&mut *text, &request)
            .map_err(|error| other(format!("cannot write the transfer's request: {error}")))?;
        drop(request);
        text.push(b'\n');
        // A child that died early shows as the end of its lines, which says more than a broken pipe.
        let _ = self.input.write_all(&text).await;
        let _ = self.input.flush().await;
        loop {
            let line = match self.lines.next().await {
                Some(line) => line.map_err(|error| error.to_string()),
                None => Err("it ended without an answer".to_owned()),
            };
            let line = line.and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()));
            match line.map_err(|error| other(format!("the transfer process failed: {error}")))? {
                Line::Progress(step) => progress(step),
                line => return Ok(line),
            }
        }
    }

    /// Makes sure that nothing of the child is left.
    async fn end(mut self) {
        self.kill_group();
        // SIGKILL cannot be ignored, so this wait is short.
        let _ = self.child.wait().await;
        self.group = None;
    }

    fn kill_group(&self) {
        if let Some(group) = self.group {
            // The child may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// The child is given no environment, so what the environment says about proxies is read here.
fn proxy_of_environment(scheme: &str) -> Option<Secret> {
    let names: &[&str] = match scheme {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        // Upper case could be a CGI request's `Proxy:` header: https://httpoxy.org
        _ => &["http_proxy", "all_proxy", "ALL_PROXY"],
    };
    variable(names).map(Secret::new)
}

fn variable(names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| env::var(name).ok()).find(|value| !value.is_empty())
}

fn unexpected(line: &Line) -> GitError {
    other(format!("the transfer process answered something else than was asked: {line:?}"))
}
