//! One attempt at a run: the steps in their order, each fed with the product of the one before. Only this module
//! moves a run's state.

use async_trait::async_trait;
use jira_agent::config::Config;
use jira_agent::domain::{CancelRequest, EventKind, Mode, Outcome, Task, TaskId};
use jira_agent::queue::Lease;
use jira_agent::redact::Redactor;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::crash;
use crate::failure::{Transient, Unfinished};
use crate::metrics::Metrics;
use crate::products::{Checked, Claimed, Next, Published, Workspace};
use crate::recall::Recall;
use crate::run_log::RunLog;
use crate::services::Services;
use crate::stage::{READING, SERVICES, Stage, thinking};
use crate::step_note;
use crate::steps::claim::{Claim, LeaseSource};
use crate::steps::{check, claim, context, edit, plan, publish, report, workspace};
use crate::world::{TicketStore, World};

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

/// Runs one attempt to its end. Dropping the future stops it between two effects; `recall` ends it as cancelled.
///
/// # Errors
/// Whatever a step could not do; [`crate::failure::classify`] says what follows from it.
pub async fn run(
    world: &dyn World,
    task: Task,
    leases: LeaseSource<'_>,
    log: &mut RunLog,
    cancel: &CancellationToken,
    recall: &mut Recall,
) -> anyhow::Result<Attempt> {
    let run = task.id;
    let key = task.ticket.clone();
    let stage = Stage { world, run };
    // Cancel-safe: a claim that is given up gives its lease back.
    let (claim, request) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(stopped()),
        request = recall.ordered() => (None, Some(request)),
        claim = stage.step("claim", SERVICES, claim::claim(world, task.clone(), log.attempt(), leases)) => {
            (Some(claim?), None)
        }
    };
    let claim = match claim {
        Some(claim) => claim,
        // Only who holds the lease may write the ticket's memory, so a cancelled run is claimed all the same. Whatever
        // request was hanging is made anew.
        None => stage.step("claim", SERVICES, claim::claim(world, task, log.attempt(), leases)).await?,
    };
    let claimed = match claim {
        Claim::Ours(claimed) => *claimed,
        Claim::AlreadyEnded(mark) => {
            // The attempt that set the marker may have died before it could say so.
            log.record(mark.event(), json!({"outcome": mark.end})).await;
            return Ok(Attempt::AlreadyEnded);
        }
        Claim::Busy => return Ok(Attempt::Busy),
        Claim::NoRoute { outcome, own_comments } => {
            // Without a repository there is no lease to take, so nothing is written that another run could be writing.
            let telling = report::tell(world, &key, &own_comments, &outcome, run);
            stage.step("report", SERVICES, telling).await?;
            log.record(outcome.event(), outcome_data(&outcome)).await;
            return Ok(Attempt::Ended(outcome));
        }
        Claim::CalledOff { outcome, own_comments, lease } => {
            let closing = report::close(world, &key, &own_comments, &outcome, run);
            let closed = while_held(lease.as_ref(), stage.step("report", SERVICES, closing)).await;
            release(lease).await;
            closed?;
            log.record(outcome.event(), outcome_data(&outcome)).await;
            return Ok(Attempt::Ended(outcome));
        }
    };
    log.record(EventKind::Claimed, claim::describe(&claimed.route)).await;
    let result = under_lease(world, &claimed, log, cancel, recall, request).await;
    release(claimed.lease).await;
    result
}

/// Whether the run has ended before, going by the marker on its ticket; says so to the record.
///
/// # Errors
/// When the service does not answer.
pub async fn end_before(world: &dyn World, task: &Task, log: &mut RunLog) -> anyhow::Result<bool> {
    let memory = world.tickets().memory(&task.ticket).await?;
    let mark = memory.end_of(task.id);
    if let Some(mark) = mark {
        log.record(mark.event(), json!({"outcome": mark.end})).await;
    }
    Ok(mark.is_some())
}

/// The work, until it is done, the lease is lost or somebody cancels it; `request` when somebody has already.
async fn under_lease(
    world: &dyn World,
    claimed: &Claimed,
    log: &mut RunLog,
    cancel: &CancellationToken,
    recall: &mut Recall,
    request: Option<CancelRequest>,
) -> anyhow::Result<Attempt> {
    let tickets = world.tickets();
    let working = async {
        // Cancel-safe: dropping the work stops it between two effects; every effect can be found again.
        tokio::select! {
            biased;
            request = async { match request { Some(request) => request, None => recall.cancelled(tickets).await } } => {
                Ok(Err(request))
            }
            () = cancel.cancelled() => Err(stopped()),
            result = world.work(claimed, log, cancel) => result.map(Ok),
        }
    };
    let request = match while_held(claimed.lease.as_ref(), working).await? {
        Ok(outcome) => return Ok(Attempt::Ended(outcome)),
        Err(request) => request,
    };
    tracing::warn!(by = %request.by, "the run is cancelled");
    while_held(claimed.lease.as_ref(), end_cancelled(world, claimed, request, log)).await
}

/// Goes on as long as the lease is held: when it is lost, no effect follows.
async fn while_held<T>(
    lease: Option<&Lease>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let lost = lease.map(Lease::lost).unwrap_or_default();
    // Cancel-safe: dropping the work stops it between two effects; every effect can be found again.
    tokio::select! {
        biased;
        () = lost.cancelled() => Err(Transient("the lease on the ticket was lost".to_owned()).into()),
        result = work => result,
    }
}

/// Ends a run as cancelled, unless its marker was set before the request was heard: there is one end.
async fn end_cancelled(
    world: &dyn World,
    claimed: &Claimed,
    request: CancelRequest,
    log: &mut RunLog,
) -> anyhow::Result<Attempt> {
    let stage = Stage { world, run: claimed.task.id };
    if stage.step("report", SERVICES, end_before(world, &claimed.task, log)).await? {
        return Ok(Attempt::AlreadyEnded);
    }
    conclude(world, claimed, cancelled(request), log).await.map(Attempt::Ended)
}

fn stopped() -> anyhow::Error {
    Transient("the run was stopped".to_owned()).into()
}

fn cancelled(request: CancelRequest) -> Outcome {
    Outcome::Cancelled { by: request.by.to_string() }
}

async fn release(lease: Option<Lease>) {
    if let Some(lease) = lease {
        lease.release().await;
    }
}

#[async_trait]
impl World for Services {
    fn config(&self) -> &Config {
        &self.config
    }

    fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    fn tickets(&self) -> &dyn TicketStore {
        &self.tickets
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    async fn work(
        &self,
        claimed: &Claimed,
        log: &mut RunLog,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        work(self, claimed, log, cancel).await
    }

    fn note_step(&self, run: TaskId, step: &'static str) {
        step_note::write(&workspace::root(self), run, step);
    }

    fn forget_step(&self, run: TaskId) {
        step_note::remove(&workspace::root(self), run);
    }

    fn last_step(&self, run: TaskId) -> Option<String> {
        step_note::read(&workspace::root(self), run)
    }
}

/// Everything that happens under the lease.
async fn work(
    services: &Services,
    claimed: &Claimed,
    log: &mut RunLog,
    cancel: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let stage = Stage { world: services, run: claimed.task.id };
    let limit = services.config.worker.clone_timeout + SERVICES;
    if let Some(reason) = &claimed.obsolete
        && !stage.step("workspace", limit, workspace::has_pushed(services, claimed, cancel)).await?
    {
        return supersede(services, claimed, reason.clone(), log).await;
    }
    let cloning = workspace::prepare(services, claimed, cancel);
    let workspace = match stage.step("workspace", limit, cloning).await? {
        Next::Go(workspace) => workspace,
        Next::End(outcome) => return conclude(services, claimed, outcome, log).await,
    };
    crash::point("workspace:done");
    if let Some(reason) = obsolete(claimed, &workspace) {
        remove(workspace).await;
        return supersede(services, claimed, reason, log).await;
    }
    if let Some(run) = workspace.unfinished {
        remove(workspace).await;
        return Err(Unfinished(run).into());
    }
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
    let reported = stage.step("report", SERVICES, report::report(services, claimed, &published)).await?;
    crash::point("report:done");
    log.record(EventKind::Reported, json!({"ticket": claimed.ticket.url})).await;
    log.record(reported.outcome.event(), outcome_data(&reported.outcome)).await;
    Ok(reported.outcome)
}

/// Ends a run that is not wanted any more. What the ticket remembers stays as it is: this run has seen nothing that
/// another one has not.
async fn supersede(
    services: &Services,
    claimed: &Claimed,
    reason: String,
    log: &mut RunLog,
) -> anyhow::Result<Outcome> {
    let (key, own, run) = (&claimed.task.ticket, &claimed.ticket.own_comments, claimed.task.id);
    let outcome = Outcome::Superseded { reason };
    let telling = report::close(services, key, own, &outcome, run);
    Stage { world: services, run }.step("report", SERVICES, telling).await?;
    log.record(outcome.event(), outcome_data(&outcome)).await;
    Ok(outcome)
}

async fn remove(workspace: Workspace) {
    if let Err(error) = workspace.dir.remove().await {
        tracing::warn!(%error, "the workspace could not be removed");
    }
}

/// Why the run is not wanted any more; one that has pushed goes on in any case. It had pushed when that was looked up
/// before, but people may have deleted its branch since.
fn obsolete(claimed: &Claimed, workspace: &Workspace) -> Option<String> {
    claimed.obsolete.clone().filter(|_| workspace.resumed.is_none())
}

/// Why nothing should be begun, now that the branch is known; a run that has pushed goes on in any case.
fn pointless(claimed: &Claimed, workspace: &Workspace) -> Option<Outcome> {
    if workspace.resumed.is_some() {
        return None;
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
    let stage = Stage { world: services, run: claimed.task.id };
    let content = match &workspace.resumed {
        // An earlier attempt has pushed: go on from there without paying the model again.
        Some(resumed) => {
            stage.step("publish", READING, publish::found(claimed, workspace, &resumed.commit)).await?
        }
        None => match make(services, claimed, workspace, log, cancel).await? {
            Next::Go(content) => content,
            Next::End(outcome) => return Ok(Next::End(outcome)),
        },
    };
    let pushing = publish::push(services, claimed, workspace, content, cancel);
    let limit = services.config.worker.push_timeout + SERVICES;
    let pushed = match stage.step("publish", limit, pushing).await? {
        Next::Go(pushed) => pushed,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("publish:pushed");
    log.record(EventKind::Pushed, json!({"branch": claimed.branch, "commit": pushed.id()})).await;
    let opening = publish::pull_request(services, claimed, workspace, pushed);
    let published = stage.step("publish", SERVICES, opening).await?;
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
    let stage = Stage { world: services, run: claimed.task.id };
    let context = match stage.step("context", READING, context::build(services, claimed, workspace)).await? {
        Next::Go(context) => context,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("context:done");
    log.record(EventKind::ContextBuilt, context::describe(&context)).await;
    if claimed.route.mode == Mode::Plan {
        let planning = plan::write(services, claimed, &context, cancel);
        let plan = match stage.step("plan", thinking(services), planning).await? {
            Next::Go(plan) => plan,
            Next::End(outcome) => return Ok(Next::End(outcome)),
        };
        log.record(EventKind::Planned, usage_data(services, &plan.usage)).await;
        crash::point("edit:done");
        let committing = publish::commit_plan(services, claimed, workspace, plan);
        return stage.step("publish", READING, committing).await.map(Next::Go);
    }
    let editing = edit::write(services, claimed, workspace, &context, cancel);
    let mut applied = match stage.step("edit", thinking(services), editing).await? {
        Next::Go(applied) => applied,
        Next::End(outcome) => return Ok(Next::End(outcome)),
    };
    crash::point("edit:done");
    log.record(EventKind::Edited, usage_data(services, &applied.usage)).await;
    let mut corrections = services.config.worker.correction_rounds;
    let checked: Checked = loop {
        match stage.step("check", READING, check::run(applied)).await? {
            check::CheckOutcome::Passed(checked) => break *checked,
            check::CheckOutcome::Failed { report, .. } if corrections == 0 => {
                return Ok(Next::End(Outcome::NeedsHuman { reason: check::gave_up(&report) }));
            }
            check::CheckOutcome::Failed { report, applied: failed } => {
                corrections -= 1;
                log.record(EventKind::Checked, json!({"passed": false, "errors": report.errors.len()})).await;
                let corrected =
                    edit::correct(services, claimed, workspace, &context, (*failed, &report), cancel);
                applied = match stage.step("edit", thinking(services), corrected).await? {
                    Next::Go(applied) => applied,
                    Next::End(outcome) => return Ok(Next::End(outcome)),
                };
                log.record(EventKind::Edited, usage_data(services, &applied.usage)).await;
            }
        }
    };
    crash::point("check:done");
    log.record(EventKind::Checked, json!({"passed": true, "checks": checked.checks})).await;
    let committing = publish::commit_change(services, claimed, workspace, checked);
    stage.step("publish", READING, committing).await.map(Next::Go)
}

/// Ends a run that has nothing to publish: the ticket hears why, then the marker is set.
async fn conclude(
    world: &dyn World,
    claimed: &Claimed,
    outcome: Outcome,
    log: &mut RunLog,
) -> anyhow::Result<Outcome> {
    let (key, own, run) = (&claimed.ticket.key, &claimed.ticket.own_comments, claimed.task.id);
    let closing = async {
        report::tell(world, key, own, &outcome, run).await?;
        report::mark(world, claimed, &outcome).await
    };
    Stage { world, run }.step("report", SERVICES, closing).await?;
    log.record(outcome.event(), outcome_data(&outcome)).await;
    Ok(outcome)
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
