use std::path::Path;

use anyhow::Context as _;
use jira_agent::domain::CommitId;

use super::Commit;
use crate::crash;
use crate::edit;
use crate::git::{self, Change, Identity, NewCommit, ObjectError};
use crate::products::{ChangePlan, Checked, Claimed, Content, Workspace};
use crate::prompt;
use crate::services::Services;
use crate::text::{self, ChangeNote};

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
    let began_branch = workspace.agent_head.is_none();
    let note = ChangeNote {
        ticket: claimed.task.ticket.clone(),
        run: claimed.task.id,
        summary: services.redactor.redact(&applied.summary).into_owned(),
        explanation: services.redactor.redact(&applied.explanation).into_owned(),
        model: config.model.name.clone(),
        usage: applied.usage,
        cost: config.model.prices.as_ref().map(|prices| applied.usage.cost(prices)),
        checks: checked.checks.iter().map(|check| services.redactor.redact(check).into_owned()).collect(),
        began_branch,
    };
    let message = note.message();
    // Read back, so that this attempt says exactly what a later one would read from the commit.
    let note = ChangeNote::parse(&claimed.task.ticket, &message).unwrap_or(note);
    let changes = applied.patch.changes.into_iter().map(to_git).collect();
    let id = write(services, workspace, changes, message).await?;
    crash::point("publish:committed");
    Ok(Commit { id, content: Content::Change(note), began_branch })
}

fn to_git((path, change): (String, edit::Change)) -> Change {
    match change {
        edit::Change::Write { bytes, executable } => {
            Change::Write { path, bytes, executable: Some(executable) }
        }
        edit::Change::Delete => Change::Delete { path },
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
    let began_branch = workspace.agent_head.is_none();
    let trailers = text::PlanTrailers {
        run: claimed.task.id,
        began_branch,
        author: format!("{} <{}>", git.author_name, git.author_email),
    };
    let message = text::plan_message(&claimed.task.ticket, &plan.plan, &trailers);
    let id = write(services, workspace, Vec::new(), message).await?;
    crash::point("publish:committed");
    Ok(Commit { id, content: Content::Plan(plan.plan), began_branch })
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
pub async fn found(claimed: &Claimed, workspace: &Workspace, id: &CommitId) -> anyhow::Result<Commit> {
    let (git_dir, wanted) = (workspace.dir.git_dir(), id.clone());
    let read = tokio::task::spawn_blocking(move || read(&git_dir, &wanted)).await?;
    let (message, is_empty) = read.context("reading the commit of an earlier attempt")?;
    // A plan is the message of an empty commit; what a change says of itself may look like one.
    let content = if is_empty {
        prompt::parse_plan(&message).ok().map(Content::Plan)
    } else {
        ChangeNote::parse(&claimed.task.ticket, &message).map(Content::Change)
    };
    let content =
        content.with_context(|| format!("commit {id} names this run but does not read like one of ours"))?;
    tracing::info!(commit = %id, "an earlier attempt of this run has pushed; going on from its commit");
    Ok(Commit { id: id.clone(), content, began_branch: text::began_branch(&message) })
}

fn read(git_dir: &Path, id: &CommitId) -> Result<(String, bool), ObjectError> {
    Ok((git::message(git_dir, id)?, git::changed_files(git_dir, id)?.is_empty()))
}
