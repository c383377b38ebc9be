//! Claim: read the ticket, find its repository, take the lease, and see whether there is anything to do.

use jira_agent::config::Config;
use jira_agent::domain::{CommentMarker, Mode, Outcome, RepoUrl, RunMark, Task, Ticket, TriggerKind};
use jira_agent::queue::{Delivery, Lease, LeaseKey, LeaseOutcome, TaskQueue};
use jira_agent::routing::{self, Route, RouteOutcome};

use crate::crash;
use crate::failure::Permanent;
use crate::products::Claimed;
use crate::world::World;

/// Where the lease comes from.
#[derive(Clone, Copy)]
pub enum LeaseSource<'run> {
    /// The connection of the delivery that will be acked.
    Delivery(&'run Delivery),
    /// The queue, for a run without a delivery.
    Queue(&'run dyn TaskQueue),
    /// Nobody: only the fences at the effects hold.
    Nobody,
}

/// The step's answer.
#[derive(Debug)]
pub enum Claim {
    /// The ticket is ours.
    Ours(Box<Claimed>),
    /// This very run has ended before: its marker is on the ticket.
    AlreadyEnded(RunMark),
    /// Another worker holds the lease.
    Busy,
    /// The ticket belongs to no configured repository.
    NoRoute {
        /// Which ones there are.
        outcome: Outcome,
        /// What the product has written on the ticket.
        own_comments: Vec<CommentMarker>,
    },
    /// Somebody has stopped the task.
    CalledOff {
        /// Who.
        outcome: Outcome,
        /// What the product has written on the ticket.
        own_comments: Vec<CommentMarker>,
        /// Held until the ticket says so.
        lease: Option<Lease>,
    },
}

/// Runs the step.
///
/// # Errors
/// When the ticket cannot be read, the task asks for what is not allowed, or the queue is gone.
pub async fn claim(
    world: &dyn World,
    task: Task,
    attempt: u32,
    leases: LeaseSource<'_>,
) -> anyhow::Result<Claim> {
    let config = world.config();
    // Nothing is read from, let alone written to, a repository that is not among the routes.
    routing::allowed(&config.routes, &task).map_err(|named| not_allowed(&named))?;
    let seen = world.now();
    let mut ticket = world.tickets().read(&task.ticket).await?;
    if let Some(mark) = ticket.memory.end_of(task.id) {
        return Ok(Claim::AlreadyEnded(mark.clone()));
    }
    let route = match routing::route(&config.routes, &config.worker, &task, &ticket) {
        RouteOutcome::Found(route) => route,
        RouteOutcome::NoneFits(choices) => {
            return Ok(Claim::NoRoute { outcome: no_route(&choices), own_comments: ticket.own_comments });
        }
    };
    known_mode(route.mode)?;
    let branch = routing::agent_branch(&config.git, &task.ticket)
        .map_err(|error| Permanent(format!("the branch template in section [git] is wrong: {error}")))?;
    let key = LeaseKey { repository: route.repository.slug().clone(), branch: branch.clone() };
    let lease = match take(leases, &key).await? {
        Take::Granted(lease) => lease,
        Take::Held => return Ok(Claim::Busy),
    };
    crash::point("claim:leased");
    // Another worker may have finished between our reading and our lease.
    ticket.memory = world.tickets().memory(&task.ticket).await?;
    if let Some(mark) = ticket.memory.end_of(task.id) {
        return Ok(Claim::AlreadyEnded(mark.clone()));
    }
    let agent = match task.trigger.as_ref().map(|trigger| trigger.kind) {
        Some(TriggerKind::Assignment) => {
            world.tickets().agent(&task.ticket, config.jira.agent_account_id.as_ref()).await?
        }
        _ => None,
    };
    let label = trigger_label(config, &task);
    if let Some(outcome) = called_off(&task, &ticket) {
        return Ok(Claim::CalledOff { outcome, own_comments: ticket.own_comments, lease });
    }
    let agent = agent.as_ref().map(|agent| agent.as_str());
    let obsolete = seen_before(&task, &ticket).or_else(|| withdrawn(&task, &ticket, &label, agent));
    // Whether an obsolete run has had an effect is seen on its branch alone: a task that was given back by a drain, or
    // that has waited, looks like a new one.
    crash::point("claim:done");
    Ok(Claim::Ours(Box::new(Claimed { task, attempt, ticket, route, branch, lease, seen, obsolete })))
}

enum Take {
    Granted(Option<Lease>),
    Held,
}

async fn take(leases: LeaseSource<'_>, key: &LeaseKey) -> anyhow::Result<Take> {
    let outcome = match leases {
        LeaseSource::Delivery(delivery) => delivery.lease(key).await?,
        LeaseSource::Queue(queue) => queue.lease(key).await?,
        LeaseSource::Nobody => return Ok(Take::Granted(None)),
    };
    Ok(match outcome {
        LeaseOutcome::Granted(lease) => Take::Granted(Some(lease)),
        LeaseOutcome::Held => Take::Held,
    })
}

fn known_mode(mode: Mode) -> Result<(), Permanent> {
    match mode {
        Mode::Quickfix | Mode::Plan => Ok(()),
        other => {
            Err(Permanent(format!("mode `{other}` is not carried out by this version; use quickfix or plan")))
        }
    }
}

fn trigger_label(config: &Config, task: &Task) -> String {
    let named = task.trigger.as_ref().map(|trigger| trigger.id.clone()).filter(|label| !label.is_empty());
    named.unwrap_or_else(|| match task.ticket {
        jira_agent::domain::TicketKey::Jira(_) => config.jira.trigger_label.clone(),
        jira_agent::domain::TicketKey::GitHub { .. } => config.github.trigger_label.clone(),
    })
}

/// Whether somebody has stopped this task.
fn called_off(task: &Task, ticket: &Ticket) -> Option<Outcome> {
    if let Some(cancel) = &ticket.memory.cancel
        && task.asked_at() <= cancel.at
    {
        return Some(Outcome::Cancelled { by: cancel.by.to_string() });
    }
    None
}

/// Why a run that ended makes this one pointless. One that has had an effect goes on all the same: it may have pushed
/// what the other one found, and not have told anybody yet.
fn seen_before(task: &Task, ticket: &Ticket) -> Option<String> {
    let seen = !task.forced && seen_already(task, ticket);
    seen.then(|| "a run that began after this was asked for has done it".to_owned())
}

/// Why the trigger no longer stands, when it was a label or an assignment that is gone. A run that has had an effect
/// goes on all the same: it takes the assignment away itself when it hands the ticket over.
fn withdrawn(task: &Task, ticket: &Ticket, label: &str, agent: Option<&str>) -> Option<String> {
    match task.trigger.as_ref().map(|trigger| trigger.kind) {
        Some(TriggerKind::Label) if !ticket.labels.iter().any(|is| is.eq_ignore_ascii_case(label)) => {
            Some(format!("the label `{label}` was taken off before the run began"))
        }
        Some(TriggerKind::Assignment)
            if agent.is_some_and(|agent| !ticket.assignees.iter().any(|is| is.as_str() == agent)) =>
        {
            Some("the ticket was assigned to somebody else before the run began".to_owned())
        }
        _ => None,
    }
}

/// Whether a finished run read the ticket after this task was asked for, and so has seen all that it is about. A
/// comment that is newer than that is news, whatever the clocks of other machines said when the task was made.
fn seen_already(task: &Task, ticket: &Ticket) -> bool {
    ticket.memory.watermark.is_some_and(|seen| task.asked_at() <= seen && ticket.newest_input() <= seen)
}

fn no_route(choices: &[RepoUrl]) -> Outcome {
    let list = choices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let reason = if list.is_empty() {
        "no repository is configured (`[[routes]]`).".to_owned()
    } else {
        format!("no configured route fits this ticket. Repositories that could be chosen: {list}.")
    };
    Outcome::NeedsHuman { reason }
}

fn not_allowed(repository: &str) -> Permanent {
    Permanent(format!("{repository} is not among the configured routes; add a `[[routes]]` entry for it"))
}

/// The route of a claim, for its event.
#[must_use]
pub fn describe(route: &Route) -> serde_json::Value {
    serde_json::json!({"repo": route.repository, "mode": route.mode, "base_branch": route.base_branch})
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jira_agent::domain::{CancelRequest, TicketMemory, Trigger};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn task(asked: i64) -> Task {
        Task { requested_at: Some(at(asked)), ..Task::new("PROJ-1".parse().unwrap()) }
    }

    fn ticket() -> Ticket {
        Ticket {
            key: "PROJ-1".parse().unwrap(),
            url: String::new(),
            summary: String::new(),
            description: String::new(),
            status: String::new(),
            labels: vec!["ai-help".to_owned()],
            components: vec![],
            assignees: vec!["bot".parse().unwrap()],
            reporter: None,
            kind: String::new(),
            comments: vec![],
            updated_at: at(0),
            own_comments: vec![],
            memory: TicketMemory::default(),
        }
    }

    fn word(task: &Task, ticket: &Ticket) -> Option<&'static str> {
        let superseded = || seen_before(task, ticket).map(|_| "superseded");
        called_off(task, ticket).map(|outcome| outcome.word()).or_else(superseded)
    }

    fn is_withdrawn(task: &Task, ticket: &Ticket) -> bool {
        withdrawn(task, ticket, "ai-help", Some("bot")).is_some()
    }

    #[test]
    fn a_task_older_than_what_a_finished_run_saw_is_superseded_unless_forced() {
        let mut ticket = ticket();
        ticket.memory.watermark = Some(at(100));
        assert_eq!(word(&task(99), &ticket), Some("superseded"));
        assert_eq!(word(&task(100), &ticket), Some("superseded"));
        assert_eq!(word(&task(101), &ticket), None);
        assert_eq!(word(&Task { forced: true, ..task(99) }, &ticket), None);
    }

    #[test]
    fn only_what_a_label_or_an_assignment_started_ends_with_it() {
        let kind = |kind| Task { trigger: Some(Trigger { kind, id: String::new() }), ..task(1) };
        let mut bare = ticket();
        bare.labels.clear();
        bare.assignees.clear();
        assert!(!is_withdrawn(&kind(TriggerKind::Label), &ticket()));
        assert!(is_withdrawn(&kind(TriggerKind::Label), &bare));
        assert!(!is_withdrawn(&kind(TriggerKind::Assignment), &ticket()));
        assert!(is_withdrawn(&kind(TriggerKind::Assignment), &bare));
        for other in [TriggerKind::Cli, TriggerKind::Webhook, TriggerKind::Poll, TriggerKind::Comment] {
            assert!(!is_withdrawn(&kind(other), &bare));
        }
        assert!(!is_withdrawn(&task(1), &bare));
    }

    #[test]
    fn a_cancel_request_meets_tasks_that_were_asked_for_before_it() {
        let mut ticket = ticket();
        ticket.memory.cancel = Some(CancelRequest { by: "ann".parse().unwrap(), at: at(50) });
        assert_eq!(word(&task(50), &ticket), Some("cancelled"));
        assert_eq!(word(&task(51), &ticket), None);
    }

    #[test]
    fn a_ticket_without_a_route_gets_the_choices() {
        let repo: RepoUrl = "https://github.com/acme/shop".parse().unwrap();
        assert!(matches!(no_route(&[repo]), Outcome::NeedsHuman { reason } if reason.contains("acme/shop")));
    }
}
