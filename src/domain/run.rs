//! The life of a run: its states, its events, its expected ends.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;

use super::{BranchName, TaskId, TicketKey};

/// An expected end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A pull request was opened.
    PullRequestOpened {
        /// Where people see it.
        url: String,
        /// Its number.
        number: u64,
        /// The agent's branch.
        branch: BranchName,
    },
    /// The open pull request got new commits.
    PullRequestUpdated {
        /// Where people see it.
        url: String,
        /// Its number.
        number: u64,
        /// The agent's branch.
        branch: BranchName,
    },
    /// A draft pull request with a plan waits for approval.
    PlanProposed {
        /// Where people see it.
        url: String,
        /// Its number.
        number: u64,
        /// The agent's branch.
        branch: BranchName,
    },
    /// The ticket asks for nothing that is not there already.
    NothingToChange {
        /// Why, for the ticket.
        reason: String,
    },
    /// A person has to decide or to do something.
    NeedsHuman {
        /// What and why, for the ticket.
        reason: String,
    },
    /// A newer run, or a trigger that was taken back, made this one pointless.
    Superseded {
        /// By what.
        reason: String,
    },
    /// Somebody stopped it.
    Cancelled {
        /// Who.
        by: String,
    },
}

impl Outcome {
    /// The outcome's word on the wire, e.g. `pull_request_opened`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::PullRequestOpened { .. } => "pull_request_opened",
            Self::PullRequestUpdated { .. } => "pull_request_updated",
            Self::PlanProposed { .. } => "plan_proposed",
            Self::NothingToChange { .. } => "nothing_to_change",
            Self::NeedsHuman { .. } => "needs_human",
            Self::Superseded { .. } => "superseded",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// What people want to know of it: where the result is, or why there is none.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::PullRequestOpened { url, .. }
            | Self::PullRequestUpdated { url, .. }
            | Self::PlanProposed { url, .. } => url,
            Self::NothingToChange { reason } | Self::NeedsHuman { reason } | Self::Superseded { reason } => {
                reason
            }
            Self::Cancelled { by } => by,
        }
    }

    /// The event that ends a run with this outcome.
    #[must_use]
    pub fn event(&self) -> EventKind {
        match self {
            Self::NeedsHuman { .. } => EventKind::NeedsHuman,
            Self::Superseded { .. } => EventKind::Superseded,
            Self::Cancelled { .. } => EventKind::Cancelled,
            _ => EventKind::Succeeded,
        }
    }
}

/// What happened in a run. The words are the wire format of `agent.events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The task is on the queue.
    Queued,
    /// A worker holds the ticket's lease.
    Claimed,
    /// The workspace holds the repository.
    Cloned,
    /// What the model is shown is chosen.
    ContextBuilt,
    /// The model wrote a plan.
    Planned,
    /// The model wrote a patch, and it applies.
    Edited,
    /// The checks ran.
    Checked,
    /// The branch is on the server.
    Pushed,
    /// The pull request was opened.
    PullRequestOpened,
    /// The pull request was brought up to date.
    PullRequestUpdated,
    /// The ticket holds the result.
    Reported,
    /// The attempt failed and the task waits for another.
    Retried,
    /// The task is on the dead-letter queue.
    DeadLettered,
    /// The run ended well.
    Succeeded,
    /// The run ended with a question to people.
    NeedsHuman,
    /// The run was pointless by the time it was claimed.
    Superseded,
    /// Somebody stopped the run.
    Cancelled,
    /// The run ended with an error.
    Failed,
}

impl EventKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Cloned => "cloned",
            Self::ContextBuilt => "context_built",
            Self::Planned => "planned",
            Self::Edited => "edited",
            Self::Checked => "checked",
            Self::Pushed => "pushed",
            Self::PullRequestOpened => "pull_request_opened",
            Self::PullRequestUpdated => "pull_request_updated",
            Self::Reported => "reported",
            Self::Retried => "retried",
            Self::DeadLettered => "dead_lettered",
            Self::Succeeded => "succeeded",
            Self::NeedsHuman => "needs_human",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens to the run by itself.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::NeedsHuman | Self::Superseded | Self::Cancelled | Self::Failed)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that happened, as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique; sorts by time.
    pub id: Ulid,
    /// The run.
    pub run: TaskId,
    /// The run's ticket.
    pub ticket: TicketKey,
    /// Which attempt of the run, from 1.
    pub attempt: u32,
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Details: durations in milliseconds (`duration_ms`), token counts, links, reasons. Never content.
    #[serde(default)]
    pub data: Value,
}

/// Where a run stands: the newest thing that happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waiting for a worker.
    Queued,
    /// A worker is at it; the newest step that it finished.
    Running(EventKind),
    /// Waiting on a retry tier.
    Waiting,
    /// Ended; by which event.
    Ended(EventKind),
}

/// An event that cannot follow the run's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {event} cannot follow state {state:?}")]
pub struct UnexpectedEvent {
    /// The state.
    pub state: RunState,
    /// The event.
    pub event: EventKind,
}

/// One task's life, rebuilt from its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The task's id.
    pub id: TaskId,
    /// The ticket.
    pub ticket: TicketKey,
    /// Where it stands.
    pub state: RunState,
    /// All that happened, oldest first.
    pub events: Vec<Event>,
}

impl Run {
    /// A run whose task was just put on the queue.
    #[must_use]
    pub fn queued(id: TaskId, ticket: TicketKey) -> Self {
        Self { id, ticket, state: RunState::Queued, events: Vec::new() }
    }

    /// Makes the next event and moves the state.
    ///
    /// # Errors
    /// When the event cannot follow the present state; nothing changes then.
    pub fn record(&mut self, kind: EventKind, attempt: u32, data: Value) -> Result<&Event, UnexpectedEvent> {
        self.state = next_state(self.state, kind)?;
        let index = self.events.len();
        self.events.push(Event {
            id: Ulid::generate(),
            run: self.id,
            ticket: self.ticket.clone(),
            attempt,
            time: Timestamp::now(),
            kind,
            data,
        });
        Ok(&self.events[index])
    }
}

/// The state behind an event. Steps of one attempt go forward only, except that a failed check sends the patch
/// back to be edited. A new claim starts over; a failed run may be queued again by hand.
fn next_state(state: RunState, event: EventKind) -> Result<RunState, UnexpectedEvent> {
    use EventKind as E;
    let refused = Err(UnexpectedEvent { state, event });
    let next = match event {
        E::Queued => RunState::Queued,
        E::Retried => RunState::Waiting,
        end if end.is_end() => RunState::Ended(end),
        step => RunState::Running(step),
    };
    match (state, event) {
        // A dead letter is where a failed run's task is kept.
        (RunState::Ended(E::Failed), E::DeadLettered) => Ok(state),
        (RunState::Ended(E::Failed | E::Cancelled), E::Queued) => Ok(next),
        (RunState::Ended(_), _) => refused,
        (_, E::DeadLettered) => refused,
        (RunState::Queued | RunState::Waiting, E::Queued | E::Claimed | E::Retried) => Ok(next),
        (RunState::Running(_), E::Claimed | E::Retried) => Ok(next),
        // A task that is superseded, cancelled or unreadable ends before it is claimed.
        (_, end) if end.is_end() => Ok(next),
        (RunState::Running(E::Checked), E::Edited) => Ok(next),
        (RunState::Running(last), step) if step > last && step <= E::Reported => Ok(next),
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run::queued(TaskId::generate(), "PROJ-1".parse().unwrap())
    }

    fn play(events: &[EventKind]) -> Result<RunState, UnexpectedEvent> {
        let mut run = run();
        for kind in events {
            run.record(*kind, 1, Value::Null)?;
        }
        assert_eq!(run.events.len(), events.len());
        Ok(run.state)
    }

    #[test]
    fn a_run_goes_from_claim_to_success() {
        use EventKind::*;
        let whole = [
            Claimed,
            Cloned,
            ContextBuilt,
            Edited,
            Checked,
            Edited,
            Checked,
            Pushed,
            PullRequestOpened,
            Reported,
            Succeeded,
        ];
        assert_eq!(play(&whole), Ok(RunState::Ended(Succeeded)));
    }

    #[test]
    fn a_redelivered_run_is_claimed_again_and_may_skip_steps() {
        use EventKind::*;
        assert_eq!(
            play(&[Claimed, Cloned, Retried, Claimed, Cloned, Pushed, Reported, Succeeded]),
            Ok(RunState::Ended(Succeeded))
        );
        assert_eq!(play(&[Claimed, Edited, Claimed]), Ok(RunState::Running(Claimed)));
    }

    #[test]
    fn nothing_follows_an_end_but_a_replay() {
        use EventKind::*;
        assert!(play(&[Claimed, Succeeded, Claimed]).is_err());
        assert!(play(&[Claimed, Cloned, Cloned]).is_err());
        assert!(play(&[Cloned]).is_err());
        assert!(play(&[DeadLettered]).is_err());
        assert_eq!(play(&[Claimed, Failed, DeadLettered, Queued]), Ok(RunState::Queued));
        assert_eq!(play(&[Superseded]), Ok(RunState::Ended(Superseded)));
    }

    #[test]
    fn a_refused_event_leaves_no_trace() {
        let mut run = run();
        assert!(run.record(EventKind::Checked, 1, Value::Null).is_err());
        assert_eq!((run.state, run.events.len()), (RunState::Queued, 0));
    }

    #[test]
    fn words_on_the_wire_are_the_words_in_code() {
        let kind = serde_json::to_value(EventKind::ContextBuilt).unwrap();
        assert_eq!(kind, EventKind::ContextBuilt.as_str());
        let outcome = Outcome::NothingToChange { reason: String::new() };
        assert_eq!(serde_json::to_value(&outcome).unwrap()["outcome"], outcome.word());
    }
}
