//! One attempt at a run: the steps in their order, each fed with the product of the one before. Only this module
//! moves a run's state.

use jiff::Timestamp;
use jira_agent::domain::{EventKind, Mode, Outcome, RunMark, Task, Ticket};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crash;
use crate::products::{Checked, Claimed, Next, Published, Workspace};
use crate::run_log::RunLog;
use crate::services::Services;
use crate::steps::claim::{Claim, LeaseSource};
use crate::steps::{check, claim, context, edit, plan, publish, report, workspace};

/// How an attempt ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The run is over and everything that is to be told is told.
    Ended(Outcome),
    /// The run was over before: its marker is on the ticket.
    AlreadyEnded,
    /// Another worker holds the ticket's lease.
    Busy,
}

/// Runs one attempt to its end. Dropping the future stops it between two effects.
///
/// # Errors
/// Whatever a step could not do; [`crate::failure::classify`] says what follows from it.
pub async fn run(
    services: &Services,
    task: Task,
    leases: LeaseSource<'_>,
    log: &mut RunLog,
    cancel: &CancellationToken,
) -> anyhow::Result<Attempt> {
    let run = task.id;
    let claimed = match step("claim", claim::claim(services, task, log.attempt(), leases)).await? {
        Claim::Ours(claimed) => *claimed,
        Claim::AlreadyEnded => return Ok(Attempt::AlreadyEnded),
        Claim::Busy => return Ok(Attempt::Busy),
        Claim::End(outcome, ticket) => {
            tell(services, &ticket, &outcome, run).await?;
            log.record(outcome.event(), outcome_data(&outcome));
            return Ok(Attempt::Ended(outcome));
        }
    };
    log.record(EventKind::Claimed, claim::describe(&claimed.route));
    let result = work(services, &claimed, log, cancel).await;
    if let Some(lease) = claimed.lease {
        lease.release().await;
    }
    result.map(Attempt::Ended)
}

/// Everything that happens under the lease.
async fn work(
    services: &Services,
    claimed: &Claimed,
    log: &mut RunLog,
    cancel: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let workspace = match step("workspace", workspace::prepare(services, claimed, cancel)).await? {
        Next::Go(workspace) => workspace,
        Next::End(outcome) => return conclude(services, claimed, outcome, log).await,
    };
    crash::point("workspace:done");
    log.record(EventKind::Cloned, workspace::describe(&workspace));
    let published = build(services, claimed, &workspace, log, cancel).await;
    // Nothing of the workspace is needed to report, and a report may have to wait.
    if let Err(error) = workspace.dir.remove().await {
        tracing::warn!(%error, "the workspace could not be removed");
    }
    let published = match published? {
        Next::Go(published) => published,
        Next::End(outcome) => return conclude(services, claimed, outcome, log).await,
    };
    let reported = step("report", report::report(services, claimed, &published)).await?;
    crash::point("report:done");
    log.record(EventKind::Reported, json!({"ticket": claimed.ticket.url}));
    log.record(reported.outcome.event(), outcome_data(&reported.outcome));
    Ok(reported.outcome)
}

/// From the repository to an open pull request.
async fn build(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    log: &mut RunLog,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<Published>> {
    let content = match &workspace.resumed {
        // An earlier attempt has pushed: go on from there without paying the model again.
        Some(resumed) => publish::found(claimed, workspace, &resumed.commit).await?,
        None => match make(services, claimed, workspace, log, cancel).await? {
            Next::Go(content) => content,
            Next::End(outcome) => return Ok(Next::End(outcome)),
        },
    };
    let pushed = match step("publish", publish::push(services, claimed, workspace, content, cancel)).await? {
        Next::Go(pushed) => pushed,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("publish:pushed");
    log.record(EventKind::Pushed, json!({"branch": claimed.branch, "commit": pushed.commit}));
    let published = step("publish", publish::pull_request(services, claimed, workspace, pushed)).await?;
    crash::point("publish:done");
    let kind = if published.opened { EventKind::PullRequestOpened } else { EventKind::PullRequestUpdated };
    log.record(kind, json!({"url": published.facts.url, "number": published.facts.number}));
    Ok(Next::Go(published))
}

/// From the repository to something that may be pushed.
async fn make(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    log: &mut RunLog,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<publish::Commit>> {
    let context = match step("context", context::build(services, claimed, workspace)).await? {
        Next::Go(context) => context,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("context:done");
    log.record(EventKind::ContextBuilt, context::describe(&context));
    if claimed.route.mode == Mode::Plan {
        let plan = match step("plan", plan::write(services, claimed, &context, cancel)).await? {
            Next::Go(plan) => plan,
            Next::End(outcome) => return Ok(Next::End(outcome)),
        };
        log.record(EventKind::Planned, usage_data(services, &plan.usage));
        crash::point("edit:done");
        return publish::commit_plan(services, claimed, workspace, plan).await.map(Next::Go);
    }
    let mut applied = match step("edit", edit::write(services, claimed, workspace, &context, cancel)).await? {
        Next::Go(applied) => applied,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("edit:done");
    log.record(EventKind::Edited, usage_data(services, &applied.usage));
    let mut corrections = services.config.worker.correction_rounds;
    let checked: Checked = loop {
        match step("check", check::run(applied)).await? {
            check::CheckOutcome::Passed(checked) => break *checked,
            check::CheckOutcome::Failed { report, .. } if corrections == 0 => {
                return Ok(Next::End(Outcome::NeedsHuman { reason: check::gave_up(&report) }));
            }
            check::CheckOutcome::Failed { report, applied: failed } => {
                corrections -= 1;
                log.record(EventKind::Checked, json!({"passed": false, "errors": report.errors.len()}));
                let corrected =
                    edit::correct(services, claimed, workspace, &context, (*failed, &report), cancel);
                applied = match step("edit", corrected).await? {
                    Next::Go(applied) => applied,
                    Next::End(outcome) => return Ok(Next::End(outcome)),
                };
                log.record(EventKind::Edited, usage_data(services, &applied.usage));
            }
        }
    };
    crash::point("check:done");
    log.record(EventKind::Checked, json!({"passed": true, "checks": checked.checks}));
    publish::commit_change(services, claimed, workspace, checked).await.map(Next::Go)
}

/// Ends a run that has nothing to publish: the ticket hears why, then the marker is set.
async fn conclude(
    services: &Services,
    claimed: &Claimed,
    outcome: Outcome,
    log: &mut RunLog,
) -> anyhow::Result<Outcome> {
    report::tell(services, &claimed.task.ticket, &outcome, claimed.task.id).await?;
    report::mark(services, claimed, &outcome).await?;
    log.record(outcome.event(), outcome_data(&outcome));
    Ok(outcome)
}

/// As [`conclude`] for a run that ended before it was claimed.
async fn tell(
    services: &Services,
    ticket: &Ticket,
    outcome: &Outcome,
    run: jira_agent::domain::TaskId,
) -> anyhow::Result<()> {
    report::tell(services, &ticket.key, outcome, run).await?;
    if matches!(outcome, Outcome::Superseded { .. }) {
        return Ok(());
    }
    let mut memory = ticket.memory.clone();
    let mark = RunMark { run, end: outcome.word().to_owned(), at: Timestamp::now() };
    memory.mark_end(mark, memory.watermark.unwrap_or(Timestamp::UNIX_EPOCH));
    services.tickets.write_memory(&ticket.key, &memory).await
}

/// Runs a step in a span of its own.
async fn step<T>(name: &'static str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    use anyhow::Context as _;
    work.instrument(tracing::info_span!("step", step = name)).await.with_context(|| format!("step {name}"))
}

fn outcome_data(outcome: &Outcome) -> serde_json::Value {
    serde_json::to_value(outcome).unwrap_or_default()
}

fn usage_data(services: &Services, usage: &crate::model::Usage) -> serde_json::Value {
    let cost = services.config.model.prices.as_ref().map(|prices| usage.cost(prices));
    json!({
        "model": services.config.model.name,
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_write_tokens": usage.cache_write,
        "cache_read_tokens": usage.cache_read,
        "cost_usd": cost,
    })
}
