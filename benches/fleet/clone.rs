//! Bringing a repository here at depth 1.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jira_agent::config::HttpConfig;
use jira_agent::domain::{CommitId, RepoUrl};
use jira_agent_simulator::{Simulator, SimulatorOptions};
use jira_agent_worker::git::{self, FetchRequest, Snapshot, Transfers};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::Cli;
use crate::table::{Limit, Row, Samples};

const SLUG: &str = "acme/warehouse";
/// Files of the repository, in directories of 20 and modules of 200.
const FILES: usize = 4000;
/// A clone that takes longer has come to a stop.
const PATIENCE: Duration = Duration::from_mins(2);
/// The words of its lines.
const WORDS: [&str; 32] = [
    "let", "total", "price", "=", "cart", "item", "quantity", "return", "if", "order", "(", ")", "{", "}",
    "for", "in", "stock", "shelf", "count", "+", "match", "address", "invoice", "tax", "self", ".",
    "customer", "none", "::", "some", "error", ";",
];

/// Each side gets the same repository from the same server on loopback into an empty directory.
pub async fn rows(program: &Path, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let simulator = Simulator::start(SimulatorOptions::default()).await?;
    let github = simulator.github().clone();
    spawn_blocking(move || {
        let files = repository();
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        github.add_repository_with(SLUG, &files)
    })
    .await??;
    let desk = Desk::new(program, &format!("{}/{SLUG}", simulator.url()))?;
    let sides = [Side::Read, Side::Checkout, Side::Git, Side::GitBare];
    let mut times: [Samples; 4] = Default::default();
    // The round before the first only warms all sides up.
    for round in 0..=cli.rounds {
        for turn in 0..sides.len() {
            let at = (turn + round as usize) % sides.len();
            let elapsed = timeout(PATIENCE, desk.clone(sides[at])).await;
            let elapsed = elapsed.context("a clone does not end in time")??;
            if round > 0 {
                times[at].push(elapsed.as_secs_f64() * 1000.0);
            }
        }
    }
    let [read, checked_out, git, bare] = times;
    let row =
        |name, ours, peer| Row { name, unit: "ms", ours, peer: Some(peer), limit: Limit::RatioAtMost(1.15) };
    let name = "git clone --depth 1";
    Ok(vec![
        row("clone and read every file", read.clone(), (name, git.clone())),
        row("clone and check every file out", checked_out, (name, git)),
        // Harder than it needs to be: this peer reads no file.
        row("clone and read every file", read, ("git clone --depth 1 --bare", bare)),
    ])
}

#[derive(Debug, Clone, Copy)]
enum Side {
    /// What a run does: fetch, then read the files from git's objects.
    Read,
    /// Fetch and write the files to disk.
    Checkout,
    /// `git clone`, which writes the files to disk.
    Git,
    /// `git clone --bare`, which stops after the fetch.
    GitBare,
}

struct Desk {
    transfers: Transfers,
    url: RepoUrl,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(program: &Path, url: &str) -> anyhow::Result<Self> {
        let http = HttpConfig {
            proxy: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            timeout: PATIENCE,
            retry_budget: PATIENCE,
        };
        // In memory where there is such a place: a disk that others use is the noisiest part of a machine.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        let transfers = Transfers::new(program.to_owned(), &http);
        Ok(Self { transfers, url: url.parse()?, dir })
    }

    /// Clones into an empty directory. Looking at what came and removing it are not measured.
    async fn clone(&self, side: Side) -> anyhow::Result<Duration> {
        let place = tempfile::tempdir_in(self.dir.path())?;
        let (git_dir, tree) = (place.path().join("git"), place.path().join("tree"));
        let started = Instant::now();
        match side {
            Side::Git => self.git(&[], &tree).await?,
            Side::GitBare => self.git(&["--bare"], &git_dir).await?,
            Side::Read | Side::Checkout => {
                let commit = self.fetch(&git_dir).await?;
                let (git_dir, tree) = (git_dir.clone(), tree.clone());
                spawn_blocking(move || match side {
                    Side::Read => read_all(&git_dir, &commit),
                    _ => check_out(&git_dir, &commit, &tree),
                })
                .await??;
            }
        }
        let elapsed = started.elapsed();
        let files = match side {
            Side::Read | Side::GitBare => files_in_git(&git_dir).await?,
            Side::Checkout | Side::Git => spawn_blocking(move || files_on_disk(&tree)).await??,
        };
        anyhow::ensure!(files == FILES, "{side:?} brought {files} files and not {FILES}");
        Ok(elapsed)
    }

    async fn git(&self, options: &[&str], into: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("git");
        command
            .args(["clone", "--quiet", "--depth", "1"])
            .args(options)
            .arg(self.url.clone_url())
            .arg(into)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await.context("git cannot be started; is it on PATH?")?;
        anyhow::ensure!(status.success(), "git clone ended with {status}");
        Ok(())
    }

    async fn fetch(&self, git_dir: &Path) -> anyhow::Result<CommitId> {
        let request = FetchRequest {
            url: self.url.clone(),
            git_dir: git_dir.to_owned(),
            token: None,
            base: None,
            agent_branch: Some("ai/PROJ-1".parse()?),
            base_depth: 1,
            agent_depth: 50,
        };
        let fetched = self.transfers.fetch(request, &CancellationToken::new(), PATIENCE, |_| {}).await?;
        Ok(fetched.base)
    }
}

fn read_all(git_dir: &Path, commit: &CommitId) -> anyhow::Result<()> {
    let snapshot = Snapshot::open(git_dir, commit)?;
    for entry in snapshot.entries()? {
        let bytes = snapshot.read(&entry.path)?;
        anyhow::ensure!(bytes.len() as u64 == entry.size, "{} is cut short", entry.path);
    }
    Ok(())
}

fn check_out(git_dir: &Path, commit: &CommitId, tree: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(tree)?;
    Ok(git::checkout(git_dir, commit, tree, &CancellationToken::new())?)
}

/// The blobs of a git directory; no two files of the repository are the same.
async fn files_in_git(git_dir: &Path) -> anyhow::Result<usize> {
    let mut command = Command::new("git");
    command.args(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]).env("GIT_DIR", git_dir);
    let output = command.output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| *line == "blob").count())
}

/// The files under a directory without those of git.
fn files_on_disk(tree: &Path) -> anyhow::Result<usize> {
    let mut pending: Vec<PathBuf> = vec![tree.to_owned()];
    let mut count = 0;
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name() == ".git" {
                continue;
            }
            if entry.file_type()?.is_dir() { pending.push(entry.path()) } else { count += 1 }
        }
    }
    Ok(count)
}

/// The same files in every run: lines that compress about as well as code does, 6 MB of them.
fn repository() -> Vec<(String, String)> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    // Knuth's MMIX generator; its high bits are good enough for filler.
    let mut below = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    (0..FILES)
        .map(|file| {
            let path = format!("src/module_{}/part_{}/file_{file}.rs", file / 200, file / 20 % 10);
            let mut text = format!("//! File {file}.\n");
            for _ in 0..20 + below(40) {
                text.push_str("    ");
                for _ in 0..3 + below(10) {
                    text.push_str(WORDS[below(WORDS.len())]);
                    text.push(' ');
                }
                text.push_str(&format!("{};\n", below(100_000)));
            }
            (path, text)
        })
        .collect()
}
