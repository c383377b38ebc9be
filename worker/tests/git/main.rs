//! Transfers and objects, against `git http-backend` over real HTTP and with the real transfer child.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests may panic as tests do")]

mod cancel;
mod fetch;
mod objects;
mod push;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use jira_agent::config::HttpConfig;
use jira_agent::domain::{BranchName, CommitId};
use jira_agent_worker::git::{
    Change, FetchOutcome, FetchRequest, GitError, Identity, NewCommit, PushOutcome, PushRequest, Transfers,
    commit,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use server::Server;

/// Far more than any transfer here takes.
const LONG: Duration = Duration::from_secs(60);
const SLUG: &str = "acme/shop";

/// A workspace's git directory and the transfers that fill it.
struct Desk {
    server: Server,
    dir: TempDir,
    transfers: Transfers,
}

impl Desk {
    async fn new() -> Self {
        Self::with_idle(LONG).await
    }

    /// `idle` is the longest silence that is borne.
    async fn with_idle(idle: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let transfers = Transfers::new(program(), &http(idle));
        Self { server: Server::start().await, dir, transfers }
    }

    fn git_dir(&self) -> PathBuf {
        self.dir.path().join("git")
    }

    fn fetch_request(&self) -> FetchRequest {
        FetchRequest {
            url: self.server.url(SLUG),
            git_dir: self.git_dir(),
            token: self.server.token(),
            base: None,
            agent_branch: None,
            base_depth: 1,
            agent_depth: 50,
        }
    }

    async fn fetch(&self) -> Result<FetchOutcome, GitError> {
        self.fetch_with(|_| {}).await
    }

    async fn fetch_with(&self, change: impl FnOnce(&mut FetchRequest)) -> Result<FetchOutcome, GitError> {
        let mut request = self.fetch_request();
        change(&mut request);
        self.transfers.fetch(request, &CancellationToken::new(), LONG, |_| {}).await
    }

    async fn push(&self, commit: &CommitId, expected: Option<&CommitId>) -> Result<PushOutcome, GitError> {
        let request = PushRequest {
            url: self.server.url(SLUG),
            git_dir: self.git_dir(),
            token: self.server.token(),
            commit: commit.clone(),
            branch: branch("ai/PROJ-1"),
            expected: expected.cloned(),
        };
        self.transfers.push(request, &CancellationToken::new(), LONG, |_| {}).await
    }

    /// Commits one file on top of `parent` in the git directory.
    fn commit(&self, parent: &CommitId, path: &str, bytes: &[u8]) -> CommitId {
        let change = Change::Write { path: path.to_owned(), bytes: bytes.to_owned(), executable: None };
        commit(&self.git_dir(), &new_commit(parent, vec![change])).unwrap()
    }
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_jira-agent-worker").into()
}

fn http(idle: Duration) -> HttpConfig {
    HttpConfig {
        proxy: None,
        ca_file: None,
        connect_timeout: Duration::from_secs(5),
        timeout: idle,
        retry_budget: LONG,
    }
}

fn branch(name: &str) -> BranchName {
    name.parse().unwrap()
}

fn new_commit(parent: &CommitId, changes: Vec<Change>) -> NewCommit {
    NewCommit {
        parents: vec![parent.clone()],
        changes,
        allow_empty: false,
        message: "PROJ-1: Mend the cart\n\nJira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3F\n".to_owned(),
        author: Identity { name: "Agent".to_owned(), email: "agent@example.com".to_owned() },
        time: "2026-01-30T12:00:00Z".parse().unwrap(),
    }
}

/// Waits until the condition holds, and fails after ten seconds.
async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
