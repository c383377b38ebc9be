use anyhow::Context as _;
use jira_agent::domain::{CommentMarker, CommitId};
use jira_agent::github::{NewPull, PullOutcome, PullRequest};

use super::{Commit, Pushed};
use crate::crash;
use crate::git;
use crate::products::{Claimed, Content, Published, Workspace};
use crate::services::Services;
use crate::text::{self, ChangedFile, PullRequestFacts};

/// Labels of every pull request of ours, and of one that holds a plan.
const LABEL: &str = "ai-agent";
const PLAN_LABEL: &str = "plan-pending";

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
    let Commit { id, content, began_branch } = pushed.0;
    let (title, body) = describe(claimed, workspace, &id, &content).await?;
    if let Some(past) = workspace.resumed.as_ref().and_then(|resumed| resumed.past_pull.as_ref()) {
        // People have merged or closed it before this run could report: nothing is opened again, only told.
        let facts = facts(claimed, past, past.title.clone());
        return Ok(Published { facts, opened: began_branch, is_open: false, content });
    }
    if let (Some(pull), true) = (&workspace.pull, workspace.resumed.as_ref().is_some_and(|is| is.overtaken)) {
        // What the pull request says is about the newer run's commit; this run has only to be told.
        let facts = facts(claimed, pull, pull.title.clone());
        return Ok(Published { facts, opened: began_branch, is_open: true, content });
    }
    let wanted = NewPull {
        title: title.clone(),
        body: services.redactor.redact(&body).into_owned(),
        head: claimed.branch.clone(),
        base: workspace.base_branch.clone(),
        draft: matches!(content, Content::Plan(_)),
    };
    let (pull, opened) = find_or_open(services, claimed, &wanted).await?;
    decorate(services, claimed, &pull, &id, &content).await?;
    // A pull request that an earlier attempt of this run opened was opened by this run.
    let opened = opened || (workspace.resumed.is_some() && began_branch);
    Ok(Published { facts: facts(claimed, &pull, title), opened, is_open: true, content })
}

async fn find_or_open(
    services: &Services,
    claimed: &Claimed,
    wanted: &NewPull,
) -> anyhow::Result<(PullRequest, bool)> {
    let github = services.tickets.github();
    let slug = claimed.route.repository.slug();
    let found = github.open_pull(slug, wanted).await.context("opening the pull request")?;
    crash::point("publish:pull-request");
    match found {
        PullOutcome::Opened(pull) => Ok((pull, true)),
        PullOutcome::Found(pull) => {
            let updated = github.update_pull(slug, pull.number, &wanted.title, &wanted.body).await;
            Ok((updated.context("updating the pull request")?, false))
        }
    }
}

fn facts(claimed: &Claimed, pull: &PullRequest, title: String) -> PullRequestFacts {
    PullRequestFacts {
        number: pull.number,
        url: pull.url.clone(),
        title,
        branch: claimed.branch.clone(),
        branch_url: format!("{}/tree/{}", claimed.route.repository, claimed.branch),
    }
}

/// Title and body.
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
            if pull.labels.iter().any(|label| label == PLAN_LABEL) {
                // The change is here, so no plan is pending. REST cannot end a draft; its reviewers can.
                github
                    .remove_label(slug, pull.number, PLAN_LABEL)
                    .await
                    .context("taking the plan's label off")?;
            }
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
