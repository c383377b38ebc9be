//! Publish: commit, push under a lease, one open pull request.
//!
//! Everything the pull request says is derived from the commit, so an attempt that finds the commit of an earlier
//! one publishes exactly the same.

use anyhow::Context as _;
use jira_agent::domain::{BranchName, CommentMarker, CommitId, Outcome};
use jira_agent::github::{NewPull, PullOutcome, PullRequest};
use tokio_util::sync::CancellationToken;

use crate::crash;
use crate::failure::Transient;
use crate::git::{self, Change, GitError, Identity, NewCommit, PushOutcome, PushRequest};
use crate::products::{ChangePlan, Checked, Claimed, Content, Next, Published, Workspace};
use crate::prompt;
use crate::services::Services;
use crate::text::{self, ChangeNote, ChangedFile, PullRequestFacts};

/// Labels of every pull request of ours, and of one that holds a plan.
const LABEL: &str = "ai-agent";
const PLAN_LABEL: &str = "plan-pending";

/// A commit in the trusted git directory, not yet on the server.
#[derive(Debug)]
pub struct Commit {
    /// Its id.
    pub commit: CommitId,
    /// What it holds.
    pub content: Content,
}

/// A commit on the server.
#[derive(Debug)]
pub struct Pushed {
    /// Its id.
    pub commit: CommitId,
    /// What it holds.
    pub content: Content,
}

/// Commits a checked patch.
///
/// # Errors
/// When git cannot write the objects.
pub async fn commit_change(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    checked: Checked,
) -> anyhow::Result<Commit> {
    let applied = checked.applied;
    let config = &services.config;
    let note = ChangeNote {
        ticket: claimed.task.ticket.clone(),
        run: claimed.task.id,
        summary: services.redactor.redact(&applied.summary).into_owned(),
        explanation: services.redactor.redact(&applied.explanation).into_owned(),
        model: config.model.name.clone(),
        usage: applied.usage,
        cost: config.model.prices.as_ref().map(|prices| applied.usage.cost(prices)),
        checks: checked.checks,
    };
    let message = note.message();
    // Read back, so that this attempt says exactly what a later one would read from the commit.
    let note = ChangeNote::parse(&claimed.task.ticket, &message).unwrap_or(note);
    let changes = applied.patch.changes.into_iter().map(to_git).collect();
    let commit = write(services, workspace, changes, message).await?;
    crash::point("publish:committed");
    Ok(Commit { commit, content: Content::Change(note) })
}

fn to_git((path, change): (String, crate::edit::Change)) -> Change {
    match change {
        crate::edit::Change::Write { bytes, executable } => {
            Change::Write { path, bytes, executable: Some(executable) }
        }
        crate::edit::Change::Delete => Change::Delete { path },
    }
}

/// Commits a plan: an empty commit that holds it in its message.
///
/// # Errors
/// When git cannot write the objects.
pub async fn commit_plan(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    plan: ChangePlan,
) -> anyhow::Result<Commit> {
    let git = &services.config.git;
    let author = format!("{} <{}>", git.author_name, git.author_email);
    let message = text::plan_message(&claimed.task.ticket, &plan.plan, claimed.task.id, &author);
    let commit = write(services, workspace, Vec::new(), message).await?;
    crash::point("publish:committed");
    Ok(Commit { commit, content: Content::Plan(plan.plan) })
}

async fn write(
    services: &Services,
    workspace: &Workspace,
    changes: Vec<Change>,
    message: String,
) -> anyhow::Result<CommitId> {
    let git = &services.config.git;
    let new = NewCommit {
        parents: workspace.parents.clone(),
        allow_empty: changes.is_empty(),
        changes,
        message,
        author: Identity { name: git.author_name.clone(), email: git.author_email.clone() },
        time: jiff::Timestamp::now(),
    };
    let git_dir = workspace.dir.git_dir();
    tokio::task::spawn_blocking(move || git::commit(&git_dir, &new)).await?.context("committing the change")
}

/// The commit that an earlier attempt of this run pushed.
///
/// # Errors
/// When its message cannot be read.
pub async fn found(claimed: &Claimed, workspace: &Workspace, commit: &CommitId) -> anyhow::Result<Commit> {
    let (git_dir, id) = (workspace.dir.git_dir(), commit.clone());
    let message = tokio::task::spawn_blocking(move || git::message(&git_dir, &id)).await?;
    let message = message.context("reading the commit of an earlier attempt")?;
    let content = match prompt::parse_plan(&message) {
        Ok(plan) => Content::Plan(plan),
        Err(_) => ChangeNote::parse(&claimed.task.ticket, &message)
            .map(Content::Change)
            .with_context(|| format!("commit {commit} names this run but does not read like one of ours"))?,
    };
    tracing::info!(%commit, "an earlier attempt of this run has pushed; going on from its commit");
    Ok(Commit { commit: commit.clone(), content })
}

/// Pushes the commit; what the server refuses is for people.
///
/// # Errors
/// When the server cannot be reached, or somebody else moved the branch meanwhile: the next attempt sees that.
pub async fn push(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    commit: Commit,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<Pushed>> {
    let Commit { commit, content } = commit;
    if workspace.resumed.is_some() {
        return Ok(Next::Go(Pushed { commit, content }));
    }
    let request = PushRequest {
        url: claimed.route.repository.clone(),
        git_dir: workspace.dir.git_dir(),
        token: services.git_token(),
        commit: commit.clone(),
        branch: claimed.branch.clone(),
        expected: workspace.agent_head.clone(),
    };
    let timeout = services.config.worker.push_timeout;
    let outcome = services.transfers.push(request, cancel, timeout, |_| {}).await;
    match outcome {
        Ok(PushOutcome::Pushed { .. } | PushOutcome::AlreadyThere) => {
            Ok(Next::Go(Pushed { commit, content }))
        }
        Ok(PushOutcome::LeaseLost { .. } | PushOutcome::NotFastForward) => {
            let branch = &claimed.branch;
            Err(Transient(format!("somebody else moved `{branch}` meanwhile; it will be read again")).into())
        }
        Ok(PushOutcome::Refused { message }) => Ok(Next::End(refused(&claimed.branch, &message))),
        Err(error @ GitError::Unauthorized { .. }) => Err(error).context("pushing needs contents: write"),
        Err(error) => Err(error).context("pushing"),
    }
}

fn refused(branch: &BranchName, message: &str) -> Outcome {
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    Outcome::NeedsHuman { reason: format!("the repository refused the push to `{branch}`: {words}") }
}

/// Finds or opens the pull request and brings it up to date.
///
/// # Errors
/// When GitHub does not answer or refuses.
pub async fn pull_request(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    pushed: Pushed,
) -> anyhow::Result<Published> {
    let Pushed { commit, content } = pushed;
    let github = services.tickets.github();
    let slug = claimed.route.repository.slug();
    let (title, body) = describe(claimed, workspace, &commit, &content).await?;
    let wanted = NewPull {
        title: title.clone(),
        body: services.redactor.redact(&body).into_owned(),
        head: claimed.branch.clone(),
        base: workspace.base_branch.clone(),
        draft: matches!(content, Content::Plan(_)),
    };
    let found = github.open_pull(slug, &wanted).await.context("opening the pull request")?;
    crash::point("publish:pull-request");
    let (pull, opened) = match found {
        PullOutcome::Opened(pull) => (pull, true),
        PullOutcome::Found(pull) => {
            let updated = github.update_pull(slug, pull.number, &wanted.title, &wanted.body).await;
            (updated.context("updating the pull request")?, false)
        }
    };
    decorate(services, claimed, &pull, &commit, &content).await?;
    let facts = PullRequestFacts {
        number: pull.number,
        url: pull.url.clone(),
        title,
        branch: claimed.branch.clone(),
        branch_url: format!("{}/tree/{}", claimed.route.repository, claimed.branch),
    };
    // A pull request that an earlier attempt of this run opened was opened by this run.
    let opened = opened || workspace.resumed.as_ref().is_some_and(|resumed| resumed.began_branch);
    Ok(Published { facts, opened, content })
}

async fn describe(
    claimed: &Claimed,
    workspace: &Workspace,
    commit: &CommitId,
    content: &Content,
) -> anyhow::Result<(String, String)> {
    let (ticket, key) = (&claimed.ticket, &claimed.task.ticket);
    match content {
        Content::Plan(plan) => {
            let title = text::pull_request_title(key, &plan.summary);
            Ok((title, text::plan_body(ticket, plan, commit, claimed.task.id)))
        }
        Content::Change(note) => {
            let files = changed_files(workspace, commit).await?;
            let title = text::pull_request_title(key, &note.summary);
            Ok((title, text::pull_request_body(ticket, note, &files)))
        }
    }
}

async fn changed_files(workspace: &Workspace, commit: &CommitId) -> anyhow::Result<Vec<ChangedFile>> {
    let (git_dir, commit) = (workspace.dir.git_dir(), commit.clone());
    let files = tokio::task::spawn_blocking(move || git::changed_files(&git_dir, &commit)).await?;
    let files = files.context("comparing the commit with its parent")?;
    let file =
        |file: git::FileStat| ChangedFile { path: file.path, added: file.added, removed: file.removed };
    Ok(files.into_iter().map(file).collect())
}

/// Labels, reviewers, and for a plan the comment.
async fn decorate(
    services: &Services,
    claimed: &Claimed,
    pull: &PullRequest,
    commit: &CommitId,
    content: &Content,
) -> anyhow::Result<()> {
    let github = services.tickets.github();
    let slug = claimed.route.repository.slug();
    match content {
        Content::Plan(plan) => {
            github
                .add_labels(slug, pull.number, &[LABEL, PLAN_LABEL])
                .await
                .context("labelling the pull request")?;
            crash::point("publish:labels");
            let marker = CommentMarker::new("plan", &claimed.task.id.to_string());
            let comment = services.redactor.redact(&text::plan_comment(plan, commit)).into_owned();
            github
                .upsert_comment(slug, pull.number, &marker, &comment)
                .await
                .context("commenting the plan")?;
        }
        Content::Change(_) => {
            github.add_labels(slug, pull.number, &[LABEL]).await.context("labelling the pull request")?;
            crash::point("publish:labels");
            request_review(services, claimed, pull).await?;
        }
    }
    crash::point("publish:reviewers");
    Ok(())
}

async fn request_review(services: &Services, claimed: &Claimed, pull: &PullRequest) -> anyhow::Result<()> {
    let config = &services.config.github;
    if config.reviewers.is_empty() && config.team_reviewers.is_empty() {
        return Ok(());
    }
    let github = services.tickets.github();
    let slug = claimed.route.repository.slug();
    let asked = github.request_reviewers(slug, pull.number, &config.reviewers, &config.team_reviewers).await;
    let refused = asked.context("asking for review")?.refused;
    if !refused.is_empty() {
        tracing::warn!(
            reviewers = refused.join(", "),
            "GitHub refused to ask these for review; check github.reviewers"
        );
    }
    Ok(())
}
