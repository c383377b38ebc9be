//! Workspace: a directory for this attempt, the repository in it, and where to start from.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use jira_agent::domain::{BranchName, CommitId, Outcome, TaskId};
use tokio_util::sync::CancellationToken;

use crate::failure::{Permanent, Transient};
use crate::git::{self, FetchOutcome, FetchRequest, GitError};
use crate::products::{Claimed, Next, Resumed, Workspace};
use crate::services::Services;
use crate::workspace_dir::{WorkspaceDir, free_bytes};

/// How many commits of the agent's branch are looked through for one of this run.
const AGENT_DEPTH: u32 = 50;

/// A run that pushed this long ago and has not ended is waited for no longer: its task may wait for people.
const UNFINISHED: SignedDuration = SignedDuration::from_mins(5);

/// Runs the step.
///
/// # Errors
/// When there is no room, the repository cannot be fetched, or GitHub does not say what is open.
pub async fn prepare(
    services: &Services,
    claimed: &Claimed,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<Workspace>> {
    let dir = directory(services, claimed).await?;
    let wanted = Wanted {
        base: claimed.route.base_branch.clone(),
        base_depth: 1,
        agent_branch: Some(claimed.branch.clone()),
    };
    let fetched = match fetch(services, claimed, &dir, wanted, cancel).await {
        Ok(fetched) => fetched,
        Err(error) => match error.downcast_ref::<GitError>().and_then(for_people) {
            Some(reason) => return Ok(Next::End(Outcome::NeedsHuman { reason })),
            None => return Err(error),
        },
    };
    begin(services, claimed, dir, fetched).await.map(Next::Go)
}

/// Whether this run has pushed in an earlier attempt. Only the agent's branch is fetched, and nothing where there is none.
/// A repository that may not be read now says neither yes nor no: that is an error, which people are told.
///
/// # Errors
/// When there is no room, or the remote cannot be asked for now.
pub async fn has_pushed(
    services: &Services,
    claimed: &Claimed,
    cancel: &CancellationToken,
) -> anyhow::Result<bool> {
    let dir = directory(services, claimed).await?;
    let wanted = Wanted { base: Some(claimed.branch.clone()), base_depth: AGENT_DEPTH, agent_branch: None };
    let found = match fetch(services, claimed, &dir, wanted, cancel).await {
        Ok(fetched) => own_commit(&dir, &fetched.base, claimed).await.map(|commit| commit.is_some()),
        Err(error) if has_no_branch(&error) => Ok(false),
        Err(error) => Err(error),
    };
    if let Err(error) = dir.remove().await {
        tracing::warn!(%error, "the workspace could not be removed");
    }
    found
}

/// There is no such branch, or nothing at all.
fn has_no_branch(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(GitError::BranchMissing { .. } | GitError::Empty { .. }))
}

/// What people have to put in order in the repository before it can be worked on.
fn for_people(error: &GitError) -> Option<String> {
    match error {
        GitError::Empty { url } => {
            Some(format!("{url} is empty; it needs a first commit before I can work on it"))
        }
        GitError::BranchMissing { url, branch } => {
            Some(format!("{url} has no branch `{branch}`; correct the route's base branch"))
        }
        _ => None,
    }
}

/// What the step found, for its event.
#[must_use]
pub fn describe(workspace: &Workspace) -> serde_json::Value {
    serde_json::json!({
        "base": workspace.base,
        "base_branch": workspace.base_branch,
        "continued": workspace.agent_head.is_some(),
        "resumed": workspace.resumed.is_some(),
    })
}

/// Where workspaces are made.
#[must_use]
pub fn root(services: &Services) -> PathBuf {
    let configured = services.config.worker.workspace_root.clone();
    // One directory a user: nobody else may have made it first.
    let user = rustix::process::geteuid().as_raw();
    configured.unwrap_or_else(|| std::env::temp_dir().join(format!("jira-agent-{user}")))
}

async fn directory(services: &Services, claimed: &Claimed) -> anyhow::Result<WorkspaceDir> {
    let (root, run, attempt) = (root(services), claimed.task.id, claimed.attempt);
    let needed = services.config.worker.min_free_bytes;
    tokio::task::spawn_blocking(move || {
        let dir = WorkspaceDir::create(&root, &run, attempt)
            .with_context(|| format!("making a workspace in {}", root.display()))?;
        let free =
            free_bytes(&root).with_context(|| format!("asking for the free space of {}", root.display()))?;
        if free < needed {
            let root = root.display();
            anyhow::bail!(Transient(format!(
                "{root} has {free} bytes free, and worker.min_free_bytes asks for {needed}"
            )));
        }
        Ok(dir)
    })
    .await?
}

/// Which branches are fetched.
struct Wanted {
    base: Option<BranchName>,
    base_depth: u32,
    agent_branch: Option<BranchName>,
}

async fn fetch(
    services: &Services,
    claimed: &Claimed,
    dir: &WorkspaceDir,
    wanted: Wanted,
    cancel: &CancellationToken,
) -> anyhow::Result<FetchOutcome> {
    let token = services.git_token(claimed.route.repository.slug()).await?;
    let request = FetchRequest {
        url: claimed.route.repository.clone(),
        git_dir: dir.git_dir(),
        token,
        base: wanted.base,
        agent_branch: wanted.agent_branch,
        base_depth: wanted.base_depth,
        agent_depth: AGENT_DEPTH,
    };
    let mut shown = 0;
    let progress = |progress: git::Progress| {
        // One line for every 10 000 objects shows that a large clone is alive.
        if progress.objects / 10_000 > shown {
            shown = progress.objects / 10_000;
            tracing::info!(objects = progress.objects, size_bytes = progress.bytes, "fetching");
        }
    };
    let timeout = services.config.worker.clone_timeout;
    services.transfers.fetch(request, cancel, timeout, progress).await.context("fetching the repository")
}

/// Decides which commit is edited, and what the new commit's parents are.
async fn begin(
    services: &Services,
    claimed: &Claimed,
    dir: WorkspaceDir,
    fetched: FetchOutcome,
) -> anyhow::Result<Workspace> {
    let slug = claimed.route.repository.slug();
    if claimed.branch == fetched.base_branch {
        anyhow::bail!(Permanent(format!(
            "the agent's branch and the base branch are both `{}`; change the template in section [git]",
            claimed.branch
        )));
    }
    let github = services.tickets.github();
    let (mut pull, mut past_pull, mut resumed, mut unfinished) = (None, None, None, None);
    let mut overtaken = false;
    if let Some(head) = &fetched.agent_head {
        pull = github.find_pull(slug, &claimed.branch, None).await.context("looking for the pull request")?;
        if pull.is_none() {
            past_pull = github
                .latest_pull(slug, &claimed.branch)
                .await
                .context("looking for earlier pull requests")?;
        }
        resumed = own_commit(&dir, head, claimed).await?;
        let other = newest_run(&dir, head).await?.filter(|(run, _)| *run != claimed.task.id);
        overtaken = other.is_some();
        if resumed.is_none() {
            unfinished = other.filter(|other| may_go_on(other, claimed)).map(|(run, _)| run);
        }
    }
    // A branch whose pull request was merged or closed is history: the work begins at the base again.
    let past = past_pull.is_some() && resumed.is_none();
    let resumed = resumed.map(|commit| Resumed { commit, past_pull, overtaken });
    let (start, parents) = match &fetched.agent_head {
        None => (fetched.base.clone(), vec![fetched.base.clone()]),
        // With the old head as a second parent the branch moves forward and nobody's commit is overwritten.
        Some(head) if past => (fetched.base.clone(), vec![fetched.base.clone(), head.clone()]),
        Some(head) => (head.clone(), vec![head.clone()]),
    };
    let lfs = lfs_paths(&dir, &start).await?;
    Ok(Workspace {
        dir,
        base_branch: fetched.base_branch,
        base: fetched.base,
        agent_head: fetched.agent_head,
        start,
        parents,
        pull,
        resumed,
        unfinished,
        lfs,
    })
}

async fn own_commit(
    dir: &WorkspaceDir,
    head: &CommitId,
    claimed: &Claimed,
) -> anyhow::Result<Option<CommitId>> {
    let (git_dir, head, run) = (dir.git_dir(), head.clone(), claimed.task.id);
    let search = tokio::task::spawn_blocking(move || {
        git::find_run_commit(&git_dir, &head, &run, AGENT_DEPTH as usize)
    });
    search.await?.context("looking for a commit of this run")
}

/// The run that made the branch's newest commit, and when.
async fn newest_run(dir: &WorkspaceDir, head: &CommitId) -> anyhow::Result<Option<(TaskId, Timestamp)>> {
    let (git_dir, head) = (dir.git_dir(), head.clone());
    let made = tokio::task::spawn_blocking(move || git::run_of(&git_dir, &head)).await?;
    made.context("looking for the run that pushed last")
}

/// Whether a run that has pushed may still be on its way.
fn may_go_on((run, made_at): &(TaskId, Timestamp), claimed: &Claimed) -> bool {
    let recent = Timestamp::now().duration_since(*made_at) < UNFINISHED;
    recent && claimed.ticket.memory.end_of(*run).is_none()
}

async fn lfs_paths(dir: &WorkspaceDir, start: &CommitId) -> anyhow::Result<BTreeSet<String>> {
    let (git_dir, start) = (dir.git_dir(), start.clone());
    let paths = tokio::task::spawn_blocking(move || {
        let snapshot = git::Snapshot::open(&git_dir, &start)?;
        git::filtered_paths(&snapshot)
    });
    Ok(paths.await?.context("reading the attributes")?.into_keys().collect())
}
