//! The transfer child: one request on stdin, JSON lines on stdout, silence on stderr.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jira_agent::domain::CommitId;
use zeroize::Zeroizing;

use super::link::{Link, other};
use super::protocol::{Job, Line, Progress, TransferRequest};
use super::{GitError, fetch, push, repository, transport};

/// The hidden subcommand that makes the binary a transfer child.
pub const TRANSFER_COMMAND: &str = "git-transfer";

/// A request is a few hundred bytes; a token may have some hundred more.
const MAX_REQUEST_BYTES: u64 = 1 << 20;
/// Progress is told this often at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// How often the remote's silence is looked at.
const SILENCE_INTERVAL: Duration = Duration::from_millis(50);

/// What `main` calls for the subcommand [`TRANSFER_COMMAND`]. Ends when the transfer does, or when the parent is gone.
#[must_use]
pub fn transfer_main() -> ExitCode {
    let reporter = Arc::new(Reporter::default());
    let line = match read_request() {
        Ok(request) => transfer(request, &reporter),
        Err(detail) => Err(other(format!("the transfer's request cannot be read: {detail}"))),
    };
    reporter.finish(&line.unwrap_or_else(Line::Failed));
    ExitCode::SUCCESS
}

fn read_request() -> Result<TransferRequest, String> {
    let mut text = Zeroizing::new(String::new());
    let mut input = io::stdin().lock().take(MAX_REQUEST_BYTES);
    input.read_line(&mut text).map_err(|error| error.to_string())?;
    // The request may hold a token, so serde's words, which quote it, are not repeated.
    serde_json::from_str(&text)
        .map_err(|error| format!("{:?} at column {}", error.classify(), error.column()))
}

fn transfer(request: TransferRequest, reporter: &Arc<Reporter>) -> Result<Line, GitError> {
    let TransferRequest { url, git_dir, token, network, job } = request;
    let known = match job {
        Job::Fetch { .. } => Vec::new(),
        Job::Push { .. } => known_commits(&git_dir)?,
    };
    let link = Arc::new(Link::new(url, token, &network, git_dir.clone(), known)?);
    transport::install(&link).map_err(|error| local("set up libgit2", &error))?;
    watch_parent();
    watch_silence(Arc::clone(&link), Arc::clone(reporter), network.idle_timeout);

    let repository = repository::open_or_init(&git_dir);
    let repository = repository.map_err(|error| local("open the git directory", &error))?;
    match job {
        Job::Fetch { base, agent_branch, base_depth, agent_depth } => {
            let wanted = fetch::Wanted { base, agent_branch, base_depth, agent_depth };
            fetch::fetch(&link, &repository, &wanted, reporter).map(Line::Fetched)
        }
        Job::Push { commit, branch, expected } => {
            let update = push::Update { commit, branch, expected };
            push::push(&link, &repository, &update, reporter).map(Line::Pushed)
        }
    }
}

/// What earlier fetches brought: the remote has it.
fn known_commits(git_dir: &Path) -> Result<Vec<CommitId>, GitError> {
    let read = || {
        let repository = repository::open(git_dir)?;
        let mut known = Vec::new();
        for reference in repository.references_glob("refs/remotes/origin/*")? {
            known.push(repository::commit_id(reference?.peel_to_commit()?.id())?);
        }
        Ok(known)
    };
    read().map_err(|error| local("list the fetched commits", &error))
}

/// A failure on this side of the network.
pub(super) fn local(action: &str, error: &git2::Error) -> GitError {
    other(format!("cannot {action}: {}", error.message()))
}

/// libgit2 stopped: for the reason the link kept, else for what it says itself.
pub(super) fn stopped(link: &Link, error: &git2::Error) -> GitError {
    link.take_failure().unwrap_or_else(|| match error.class() {
        git2::ErrorClass::Net | git2::ErrorClass::Indexer | git2::ErrorClass::Zlib => {
            GitError::Corrupt { host: link.url().authority(), detail: error.message().to_owned() }
        }
        _ => local("carry out the transfer", error),
    })
}

/// Ends the process when the parent closes the pipe, which a killed parent does too.
fn watch_parent() {
    thread::spawn(|| {
        let mut byte = [0];
        while matches!(io::stdin().lock().read(&mut byte), Ok(1..)) {}
        std::process::exit(1);
    });
}

/// Ends the process when the remote is waited for and silent for too long: a blocked read cannot be interrupted.
fn watch_silence(link: Arc<Link>, reporter: Arc<Reporter>, limit: Duration) {
    thread::spawn(move || {
        loop {
            if link.silence().is_some_and(|silence| silence >= limit) {
                let waiting = "without a sign from the remote".to_owned();
                let host = link.url().authority();
                reporter.finish(&Line::Failed(GitError::TimedOut { host, limit, waiting }));
                std::process::exit(0);
            }
            thread::sleep(SILENCE_INTERVAL.min(limit));
        }
    });
}

/// Writes lines to the parent; none after the last.
#[derive(Default)]
pub(super) struct Reporter {
    state: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    finished: bool,
    progress_at: Option<Instant>,
}

impl Reporter {
    pub(super) fn progress(&self, progress: Progress) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if due && !state.finished {
            state.progress_at = Some(Instant::now());
            write(&Line::Progress(progress));
        }
    }

    fn finish(&self, line: &Line) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.finished {
            state.finished = true;
            write(line);
        }
    }
}

/// A parent that does not read any more is gone, so a failure to write has nobody to tell.
fn write(line: &Line) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let mut output = io::stdout().lock();
        let _ = output.write_all(&text).and_then(|()| output.flush());
    }
}
