//! Report: the ticket holds the result, and last of all the marker that the run has ended.

use anyhow::Context as _;
use jiff::Timestamp;
use jira_agent::domain::{CommentMarker, IssueKey, Outcome, RunMark, TaskId, TicketKey};
use jira_agent::jira::{Jira, MoveOutcome, RemoteLink};

use crate::crash;
use crate::products::{Claimed, Content, Published, Reported};
use crate::services::Services;
use crate::text;

/// Runs the step.
///
/// # Errors
/// When Jira or GitHub does not answer or refuses.
pub async fn report(
    services: &Services,
    claimed: &Claimed,
    published: &Published,
) -> anyhow::Result<Reported> {
    let key = &claimed.task.ticket;
    let is_change = matches!(published.content, Content::Change(_));
    let mut moved = None;
    if let (TicketKey::Jira(issue), Some(jira)) = (key, services.tickets.jira()) {
        if is_change {
            moved = Some(hand_over(services, jira, issue).await?);
        }
        link(jira, issue, published).await?;
    }
    crash::point("report:linked");
    let comment = match &published.content {
        Content::Change(note) => {
            text::result_comment(&published.facts, note, published.opened, moved.as_ref())
        }
        Content::Plan(plan) => text::plan_ticket_comment(&published.facts, plan),
    };
    say(services, key, "report", claimed.task.id, &comment).await?;
    crash::point("report:commented");
    let outcome = outcome(published);
    mark(services, claimed, &outcome).await?;
    crash::point("report:marked");
    Ok(Reported { outcome })
}

/// Moves the ticket to review and gives it to the reviewer, also when it could not be moved.
async fn hand_over(services: &Services, jira: &Jira, issue: &IssueKey) -> anyhow::Result<MoveOutcome> {
    let config = &services.config.jira;
    let moved = jira.move_to(issue, &config.review_states).await.context("moving the ticket")?;
    crash::point("report:moved");
    if let Some(reviewer) = &config.reviewer_account_id {
        jira.assign(issue, reviewer).await.context("assigning the ticket to the reviewer")?;
    }
    crash::point("report:assigned");
    Ok(moved)
}

async fn link(jira: &Jira, issue: &IssueKey, published: &Published) -> anyhow::Result<()> {
    let facts = &published.facts;
    let link = RemoteLink {
        global_id: format!("jira-agent={}", facts.url),
        url: facts.url.clone(),
        title: format!("Pull request #{}: {}", facts.number, facts.title),
        summary: String::new(),
        resolved: false,
    };
    jira.upsert_remote_link(issue, &link).await.context("linking the pull request")
}

/// Tells the ticket how a run without a pull request ended; a superseded one says nothing.
///
/// # Errors
/// When the service does not answer or refuses.
pub async fn tell(
    services: &Services,
    key: &TicketKey,
    outcome: &Outcome,
    run: TaskId,
) -> anyhow::Result<()> {
    match text::outcome_comment(outcome, run) {
        Some(comment) => say(services, key, "outcome", run, &comment).await,
        None => Ok(()),
    }
}

async fn say(
    services: &Services,
    key: &TicketKey,
    kind: &str,
    run: TaskId,
    comment: &str,
) -> anyhow::Result<()> {
    let marker = CommentMarker::new(kind, &run.to_string());
    services.tickets.comment(key, &marker, &services.redactor.redact(comment)).await
}

/// Sets the terminal marker and raises the watermark to what this run has seen.
///
/// # Errors
/// When the service does not answer or refuses.
pub async fn mark(services: &Services, claimed: &Claimed, outcome: &Outcome) -> anyhow::Result<()> {
    // Read again: a cancel request may have been left on the ticket while the run was busy.
    let mut memory = services.tickets.memory(&claimed.task.ticket).await?;
    let mark = RunMark { run: claimed.task.id, end: outcome.word().to_owned(), at: Timestamp::now() };
    memory.mark_end(mark, claimed.seen);
    services.tickets.write_memory(&claimed.task.ticket, &memory).await
}

fn outcome(published: &Published) -> Outcome {
    let facts = &published.facts;
    let (url, number, branch) = (facts.url.clone(), facts.number, facts.branch.clone());
    match (&published.content, published.opened) {
        (Content::Plan(_), _) => Outcome::PlanProposed { url, number, branch },
        (Content::Change(_), true) => Outcome::PullRequestOpened { url, number, branch },
        (Content::Change(_), false) => Outcome::PullRequestUpdated { url, number, branch },
    }
}
