use anyhow::Context as _;
use jira_agent::domain::{BranchName, Outcome};
use tokio_util::sync::CancellationToken;

use super::{Commit, Pushed};
use crate::failure::Transient;
use crate::git::{GitError, PushOutcome, PushRequest};
use crate::products::{Claimed, Next, Workspace};
use crate::services::Services;

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
    if workspace.resumed.is_some() {
        return Ok(Next::Go(Pushed(commit)));
    }
    let request = PushRequest {
        url: claimed.route.repository.clone(),
        git_dir: workspace.dir.git_dir(),
        token: services.git_token(claimed.route.repository.slug()).await?,
        commit: commit.id.clone(),
        branch: claimed.branch.clone(),
        expected: workspace.agent_head.clone(),
    };
    let timeout = services.config.worker.push_timeout;
    match services.transfers.push(request, cancel, timeout, |_| {}).await {
        Ok(PushOutcome::Pushed { .. } | PushOutcome::AlreadyThere) => Ok(Next::Go(Pushed(commit))),
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
