//! Report: the ticket holds the result, and last of all the marker that the run has ended.

use anyhow::Context as _;
use jiff::Timestamp;
use jira_agent::domain::{CommentMarker, IssueKey, Outcome, RunMark, Task, TaskId, TicketKey};
use jira_agent::jira::{Jira, JiraError, MoveOutcome, RemoteLink};
use jira_agent::routing;

use crate::crash;
use crate::products::{Claimed, Content, Published, Reported};
use crate::services::Services;
use crate::text;
use crate::world::World;

/// The kind of the comment that a run failed for good.
const FAILURE: &str = "failure";

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
    let mut notes = Vec::new();
    if let (TicketKey::Jira(issue), Some(jira)) = (key, services.tickets.jira()) {
        let is_change = matches!(published.content, Content::Change(_));
        // A ticket whose pull request people have closed or merged is where they want it.
        if is_change && published.is_open {
            hand_over(services, jira, issue, &mut notes).await?;
        }
        link(jira, issue, published, &mut notes).await?;
    }
    crash::point("report:linked");
    let comment = match &published.content {
        Content::Change(note) => text::result_comment(&published.facts, note, published.opened, &notes),
        Content::Plan(plan) => text::plan_ticket_comment(&published.facts, plan),
    };
    say(services, key, "report", claimed.task.id, &comment).await?;
    crash::point("report:commented");
    let outcome = outcome(published);
    overcome(services, key, &claimed.ticket.own_comments, &outcome, claimed.task.id).await?;
    mark(services, claimed, &outcome).await?;
    crash::point("report:marked");
    Ok(Reported { outcome })
}

/// Moves the ticket to review and gives it to the reviewer. What Jira refuses is noted for people: the pull request is
/// there, and that is what counts.
async fn hand_over(
    services: &Services,
    jira: &Jira,
    issue: &IssueKey,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let config = &services.config.jira;
    if !config.review_states.is_empty() {
        let moved = jira.move_to(issue, &config.review_states).await;
        match tolerate(moved, "moving the ticket", notes)? {
            Some(MoveOutcome::Unreachable { available }) => notes.push(text::cannot_move(&available)),
            Some(MoveOutcome::NeedsFields { transition, fields }) => {
                notes.push(text::needs_fields(&transition, &fields));
            }
            Some(MoveOutcome::Already { .. } | MoveOutcome::Moved { .. }) | None => {}
        }
    }
    crash::point("report:moved");
    if let Some(reviewer) = &config.reviewer_account_id {
        tolerate(jira.assign(issue, reviewer).await, "assigning the ticket to the reviewer", notes)?;
    }
    crash::point("report:assigned");
    Ok(())
}

async fn link(
    jira: &Jira,
    issue: &IssueKey,
    published: &Published,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let facts = &published.facts;
    let link = RemoteLink {
        global_id: format!("jira-agent={}", facts.url),
        url: facts.url.clone(),
        title: format!("Pull request #{}: {}", facts.number, facts.title),
        summary: String::new(),
        resolved: !published.is_open,
    };
    tolerate(jira.upsert_remote_link(issue, &link).await, "linking the pull request", notes)?;
    Ok(())
}

/// Notes what Jira refuses; what may pass, or concerns the account itself, is an error.
fn tolerate<T>(
    result: Result<T, JiraError>,
    doing: &'static str,
    notes: &mut Vec<String>,
) -> anyhow::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error @ (JiraError::Invalid { .. } | JiraError::Forbidden { .. })) => {
            tracing::warn!(%error, doing, "Jira refused; the ticket is told");
            notes.push(text::refused(doing, &error.to_string()));
            Ok(None)
        }
        Err(error) => Err(error).context(doing),
    }
}

/// Tells the ticket how a run without a pull request ended; a superseded one says nothing new.
///
/// `own_comments`: what the product had written on the ticket when the attempt began.
///
/// # Errors
/// When the service does not answer or refuses.
pub async fn tell(
    world: &dyn World,
    key: &TicketKey,
    own_comments: &[CommentMarker],
    outcome: &Outcome,
    run: TaskId,
) -> anyhow::Result<()> {
    if let Some(comment) = text::outcome_comment(outcome, run) {
        say(world, key, "outcome", run, &comment).await?;
    }
    overcome(world, key, own_comments, outcome, run).await
}

/// Takes back what an earlier attempt of this run said: that it had failed for good. People put its task back since.
async fn overcome(
    world: &dyn World,
    key: &TicketKey,
    own_comments: &[CommentMarker],
    outcome: &Outcome,
    run: TaskId,
) -> anyhow::Result<()> {
    if !own_comments.contains(&marker(FAILURE, run)) {
        return Ok(());
    }
    say(world, key, FAILURE, run, &text::overcome_comment(outcome, run)).await
}

async fn say(
    world: &dyn World,
    key: &TicketKey,
    kind: &str,
    run: TaskId,
    comment: &str,
) -> anyhow::Result<()> {
    world.tickets().comment(key, &marker(kind, run), &world.redactor().redact(comment)).await
}

fn marker(kind: &str, run: TaskId) -> CommentMarker {
    CommentMarker::new(kind, &run.to_string())
}

/// Ends a run that did nothing: tells the ticket, and marks all but a superseded run.
///
/// # Errors
/// When the service does not answer or refuses.
pub async fn close(
    world: &dyn World,
    key: &TicketKey,
    own_comments: &[CommentMarker],
    outcome: &Outcome,
    run: TaskId,
) -> anyhow::Result<()> {
    tell(world, key, own_comments, outcome, run).await?;
    if matches!(outcome, Outcome::Superseded { .. }) {
        return Ok(());
    }
    let mut memory = world.tickets().memory(key).await?;
    let seen = memory.watermark.unwrap_or(Timestamp::UNIX_EPOCH);
    memory.mark_end(RunMark { run, end: outcome.word().to_owned(), at: world.now() }, seen);
    world.tickets().write_memory(key, &memory).await
}

/// Tells the ticket why its run failed for good. Gives the reason as it is kept with the task: what could not be told
/// stands in it.
pub async fn failed(world: &dyn World, task: &Task, reason: String, attempts: u32) -> String {
    if !routing::is_ours(&world.config().routes, &task.ticket) {
        return reason;
    }
    let comment = text::failure_comment(&reason, attempts, task.id);
    match say(world, &task.ticket, FAILURE, task.id, &comment).await {
        Ok(()) => reason,
        Err(error) => {
            let why = world.redactor().redact(&format!("{error:#}")).into_owned();
            untold(&reason, &why)
        }
    }
}

/// The reason as it is kept with a task whose ticket could not be told.
#[must_use]
pub fn untold(reason: &str, why: &str) -> String {
    tracing::error!(why, "the ticket could not be told");
    format!("{reason} (the ticket could not be told: {why})")
}

/// Sets the terminal marker, and raises the watermark to what this run has seen if it has acted on that.
///
/// # Errors
/// When the service does not answer or refuses.
pub async fn mark(world: &dyn World, claimed: &Claimed, outcome: &Outcome) -> anyhow::Result<()> {
    // Read again: a cancel request may have been left on the ticket while the run was busy.
    let mut memory = world.tickets().memory(&claimed.task.ticket).await?;
    let mark = RunMark { run: claimed.task.id, end: outcome.word().to_owned(), at: world.now() };
    let acted = !matches!(outcome, Outcome::Superseded { .. } | Outcome::Cancelled { .. });
    let seen = if acted { claimed.seen } else { memory.watermark.unwrap_or(Timestamp::UNIX_EPOCH) };
    memory.mark_end(mark, seen);
    world.tickets().write_memory(&claimed.task.ticket, &memory).await
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
