//! One attempt at a run: the steps in their order, each fed with the product of the one before. Only this module
//! moves a run's state.

use jira_agent::domain::{EventKind, Mode, Outcome, Task};
use jira_agent::queue::Lease;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::crash;
use crate::failure::Transient;
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
        Claim::AlreadyEnded(mark) => {
            // The attempt that set the marker may have died before it could say so.
            log.record(mark.event(), json!({"outcome": mark.end})).await;
            return Ok(Attempt::AlreadyEnded);
        }
        Claim::Busy => return Ok(Attempt::Busy),
        Claim::End { outcome, ticket, lease } => {
            report::close(services, &ticket, &outcome, run).await?;
            log.record(outcome.event(), outcome_data(&outcome)).await;
            release(lease).await;
            return Ok(Attempt::Ended(outcome));
        }
    };
    log.record(EventKind::Claimed, claim::describe(&claimed.route)).await;
    let lost = claimed.lease.as_ref().map(Lease::lost).unwrap_or_default();
    // Cancel-safe: dropping the work stops it between two effects; every effect can be found again.
    let result = tokio::select! {
        biased;
        () = lost.cancelled() => Err(Transient("the lease on the ticket was lost".to_owned()).into()),
        result = work(services, &claimed, log, cancel) => result,
    };
    release(claimed.lease).await;
    result.map(Attempt::Ended)
}

async fn release(lease: Option<Lease>) {
    if let Some(lease) = lease {
        lease.release().await;
    }
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
    if let Some(outcome) = pointless(claimed, &workspace) {
        remove(workspace).await;
        return conclude(services, claimed, outcome, log).await;
    }
    log.record(EventKind::Cloned, workspace::describe(&workspace)).await;
    let published = build(services, claimed, &workspace, log, cancel).await;
    // Nothing of the workspace is needed to report, and a report may have to wait.
    remove(workspace).await;
    let published = match published? {
        Next::Go(published) => published,
        Next::End(outcome) => return conclude(services, claimed, outcome, log).await,
    };
    let reported = step("report", report::report(services, claimed, &published)).await?;
    crash::point("report:done");
    log.record(EventKind::Reported, json!({"ticket": claimed.ticket.url})).await;
    log.record(reported.outcome.event(), outcome_data(&reported.outcome)).await;
    Ok(reported.outcome)
}

async fn remove(workspace: Workspace) {
    if let Err(error) = workspace.dir.remove().await {
        tracing::warn!(%error, "the workspace could not be removed");
    }
}

/// Why nothing should be begun, now that the branch is known; a run that has pushed goes on in any case.
fn pointless(claimed: &Claimed, workspace: &Workspace) -> Option<Outcome> {
    if workspace.resumed.is_some() {
        return None;
    }
    if let Some(reason) = &claimed.withdrawn {
        return Some(Outcome::Superseded { reason: reason.clone() });
    }
    let pull = workspace.pull.as_ref()?;
    let has_change = claimed.route.mode == Mode::Plan && !pull.draft;
    has_change.then(|| Outcome::NeedsHuman {
        reason: format!(
            "pull request {} for this ticket holds a change already; merge or close it before a new plan is made",
            pull.url
        ),
    })
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
    log.record(EventKind::Pushed, json!({"branch": claimed.branch, "commit": pushed.id()})).await;
    let published = step("publish", publish::pull_request(services, claimed, workspace, pushed)).await?;
    crash::point("publish:done");
    let kind = if published.opened { EventKind::PullRequestOpened } else { EventKind::PullRequestUpdated };
    log.record(kind, json!({"url": published.facts.url, "number": published.facts.number})).await;
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
    log.record(EventKind::ContextBuilt, context::describe(&context)).await;
    if claimed.route.mode == Mode::Plan {
        let plan = match step("plan", plan::write(services, claimed, &context, cancel)).await? {
            Next::Go(plan) => plan,
            Next::End(outcome) => return Ok(Next::End(outcome)),
        };
        log.record(EventKind::Planned, usage_data(services, &plan.usage)).await;
        crash::point("edit:done");
        return publish::commit_plan(services, claimed, workspace, plan).await.map(Next::Go);
    }
    let mut applied = match step("edit", edit::write(services, claimed, workspace, &context, cancel)).await? {
        Next::Go(applied) => applied,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("edit:done");
    log.record(EventKind::Edited, usage_data(services, &applied.usage)).await;
    let mut corrections = services.config.worker.correction_rounds;
    let checked: Checked = loop {
        match step("check", check::run(applied)).await? {
            check::CheckOutcome::Passed(checked) => break *checked,
            check::CheckOutcome::Failed { report, .. } if corrections == 0 => {
                return Ok(Next::End(Outcome::NeedsHuman { reason: check::gave_up(&report) }));
            }
            check::CheckOutcome::Failed { report, applied: failed } => {
                corrections -= 1;
                log.record(EventKind::Checked, json!({"passed": false, "errors": report.errors.len()})).await;
                let corrected =
                    edit::correct(services, claimed, workspace, &context, (*failed, &report), cancel);
                applied = match step("edit", corrected).await? {
                    Next::Go(applied) => applied,
                    Next::End(outcome) => return Ok(Next::End(outcome)),
                };
                log.record(EventKind::Edited, usage_data(services, &applied.usage)).await;
            }
        }
    };
    crash::point("check:done");
    log.record(EventKind::Checked, json!({"passed": true, "checks": checked.checks})).await;
    publish::commit_change(services, claimed, workspace, checked).await.map(Next::Go)
}

/// Ends a run that has nothing to publish: the ticket hears why, then the marker is set.
async fn conclude(
    services: &Services,
    claimed: &Claimed,
    outcome: Outcome,
    log: &mut RunLog,
) -> anyhow::Result<Outcome> {
    report::tell(services, &claimed.ticket, &outcome, claimed.task.id).await?;
    report::mark(services, claimed, &outcome).await?;
    log.record(outcome.event(), outcome_data(&outcome)).await;
    Ok(outcome)
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
