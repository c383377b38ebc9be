//! What an error means for its task: the one place where that is decided.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jira_agent::domain::TaskId;
use jira_agent::github::GitHubError;
use jira_agent::http::HttpError;
use jira_agent::jira::JiraError;
use jira_agent::queue::tiers::Tiers;
use jira_agent::queue::{Counts, DeliveryInfo, QueueError};
use jira_agent::tickets::NoTicket;

use crate::git::{CommitError, GitError, ObjectError};
use crate::model::ModelError;

/// What kind of failure an attempt met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It passes by itself.
    Transient,
    /// A service asks to wait this long.
    RateLimited(Duration),
    /// The model's provider is down or unpaid; it is asked again after this long.
    Outage(Duration),
    /// Trying again is useless.
    Permanent,
    /// Another worker works on the ticket.
    LeaseHeld,
    /// Another run of the ticket has pushed and has to end first.
    OtherFirst,
    /// The worker has to stop before the run could finish.
    Shutdown,
    /// The worker died over the task, again.
    WorkerDied,
}

impl Failure {
    /// Its word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited(_) => "rate_limited",
            Self::Outage(_) => "outage",
            Self::Permanent => "permanent",
            Self::LeaseHeld => "lease_held",
            Self::OtherFirst => "other_run_first",
            Self::Shutdown => "shutdown",
            Self::WorkerDied => "worker_died",
        }
    }
}

/// What becomes of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It comes again after this long.
    Retry {
        /// Not before this long.
        after: Duration,
        /// As what this counts.
        counts: Counts,
    },
    /// It goes back to the other workers at once.
    Release,
    /// It waits for people, and the ticket is told.
    DeadLetter,
}

/// The settings and the moment that a settlement depends on.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long tasks wait.
    pub tiers: Tiers,
    /// A task is dead after this many failed attempts.
    pub max_attempts: u32,
    /// Now.
    pub now: Timestamp,
}

/// Waits that a service asks for use up no attempts, but not for ever.
const FREE_WAITING: SignedDuration = SignedDuration::from_hours(24);
/// A task over which the worker died this often is not tried again.
pub const CRASH_LIMIT: u32 = 3;
/// A task that came back this often without having been settled has killed its worker.
pub const SUSPICIOUS_RETURNS: u32 = 2;
/// The tier after the first death over a task: a long one, so that a task that kills its workers does so rarely.
const FIRST_CRASH_TIER: u32 = 3;

/// The failure table: what follows from a failure, given how the delivery came here.
/// `ARCHITECTURE.md` shows it; a test compares the two.
#[must_use]
pub fn settlement(failure: Failure, info: &DeliveryInfo, rules: &Rules) -> Settlement {
    let free = info.first_published.is_none_or(|first| rules.now.duration_since(first) <= FREE_WAITING);
    match failure {
        Failure::Permanent => Settlement::DeadLetter,
        Failure::Shutdown => Settlement::Release,
        Failure::LeaseHeld | Failure::OtherFirst => {
            Settlement::Retry { after: rules.tiers.nth(info.waits + 1), counts: Counts::Wait }
        }
        Failure::RateLimited(after) | Failure::Outage(after) if free => {
            Settlement::Retry { after, counts: Counts::Wait }
        }
        Failure::WorkerDied if info.crashes + 1 < CRASH_LIMIT => {
            let after = rules.tiers.nth(FIRST_CRASH_TIER + info.crashes);
            Settlement::Retry { after, counts: Counts::Crash }
        }
        Failure::WorkerDied => Settlement::DeadLetter,
        Failure::Transient | Failure::RateLimited(_) | Failure::Outage(_) => {
            if info.attempt < rules.max_attempts {
                let announced = match failure {
                    Failure::RateLimited(after) | Failure::Outage(after) => after,
                    _ => Duration::ZERO,
                };
                let after = rules.tiers.nth(info.attempt).max(announced);
                Settlement::Retry { after, counts: Counts::Attempt }
            } else {
                Settlement::DeadLetter
            }
        }
    }
}

/// An error for which trying again is useless, with what a person can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Permanent(pub String);

/// An error that passes by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Transient(pub String);

/// Another run of the ticket has pushed and not ended yet: its task is on its way, and goes first.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("run {0} of this ticket has pushed and is not finished; it goes first")]
pub struct Unfinished(pub TaskId);

/// In which step an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InStep(pub &'static str);

impl fmt::Display for InStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.0)
    }
}

/// The model's provider does not answer, or the account cannot pay.
#[derive(Debug, thiserror::Error)]
#[error("the model's provider is down or unpaid; tasks wait until it answers again")]
pub struct ProviderDown {
    /// How long it is left alone.
    pub wait: Duration,
    /// What it said.
    #[source]
    pub source: ModelError,
}

/// Decides over the first typed error in the chain. An error of no known type is taken for passing: its attempts
/// are counted, so it ends all the same.
#[must_use]
pub fn classify(error: &anyhow::Error) -> Failure {
    for cause in error.chain() {
        if cause.is::<Permanent>() || cause.is::<NoTicket>() {
            return Failure::Permanent;
        }
        if cause.is::<Unfinished>() {
            return Failure::OtherFirst;
        }
        if let Some(down) = cause.downcast_ref::<ProviderDown>() {
            return Failure::Outage(down.wait);
        }
        if cause.is::<Transient>() || cause.is::<QueueError>() {
            return Failure::Transient;
        }
        if let Some(error) = cause.downcast_ref::<CommitError>() {
            // What git refuses stays refused; what the disk refuses does not.
            return match error {
                CommitError::Object(_) => Failure::Transient,
                _ => Failure::Permanent,
            };
        }
        if let Some(error) = cause.downcast_ref::<ObjectError>() {
            return match error {
                ObjectError::TooLarge { .. } => Failure::Permanent,
                _ => Failure::Transient,
            };
        }
        let passing = |after: Option<Duration>, transient: bool| match after {
            Some(after) => Failure::RateLimited(after),
            None if transient => Failure::Transient,
            None => Failure::Permanent,
        };
        if let Some(error) = cause.downcast_ref::<JiraError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<GitHubError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<ModelError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<GitError>() {
            return passing(error.retry_after(), error.is_transient());
        }
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            return passing(None, error.is_transient());
        }
    }
    Failure::Transient
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use reqwest::StatusCode;

    use super::*;

    fn of(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
        classify(&Err::<(), _>(error).context("step claim").context("outer").unwrap_err())
    }

    #[test]
    fn a_rate_limit_waits_without_using_an_attempt() {
        let limited = HttpError::RateLimited { host: "h".to_owned(), retry_after: Duration::from_secs(90) };
        let later = Failure::RateLimited(Duration::from_secs(90));
        assert_eq!(of(JiraError::Http(limited)), later);
        let git = GitError::RateLimited { host: "h".to_owned(), retry_after: Some(Duration::from_secs(90)) };
        assert_eq!(of(git), later);
    }

    #[test]
    fn what_passes_is_tried_again_and_counted() {
        let status = |code: u16| HttpError::Status {
            host: "h".to_owned(),
            status: StatusCode::from_u16(code).unwrap(),
            body: String::new(),
        };
        assert_eq!(of(GitHubError::Http(status(502))), Failure::Transient);
        assert_eq!(of(QueueError::Unreachable(String::new())), Failure::Transient);
        assert_eq!(
            of(GitError::Unreachable { host: "h".to_owned(), detail: String::new() }),
            Failure::Transient
        );
        assert_eq!(classify(&anyhow::anyhow!("nobody knows")), Failure::Transient);
        assert_eq!(of(Permanent("no".to_owned())), Failure::Permanent);
        assert_eq!(of(GitError::NotFound { url: "u".to_owned() }), Failure::Permanent);
        assert_eq!(of(Unfinished(TaskId::generate())), Failure::OtherFirst, "no lease is held then");
    }

    fn info(attempt: u32, waits: u32, crashes: u32) -> DeliveryInfo {
        DeliveryInfo {
            message_id: None,
            attempt,
            waits,
            crashes,
            delivery_count: 0,
            first_published: Some(Timestamp::UNIX_EPOCH),
            traceparent: None,
            redelivered: false,
            replayed_by: None,
        }
    }

    fn rules(hours: i64) -> Rules {
        Rules {
            tiers: Tiers::new(&[30, 120, 600, 3600].map(Duration::from_secs)),
            max_attempts: 5,
            now: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours),
        }
    }

    fn words(settlement: Settlement) -> String {
        match settlement {
            Settlement::Retry { after, .. } => {
                format!("{:#}", SignedDuration::try_from(after).unwrap())
            }
            Settlement::Release => "at once".to_owned(),
            Settlement::DeadLetter => "dead letter".to_owned(),
        }
    }

    fn counted(settlement: Settlement) -> &'static str {
        match settlement {
            Settlement::Retry { counts: Counts::Attempt, .. } => "attempt",
            Settlement::Retry { counts: Counts::Wait, .. } => "no",
            Settlement::Retry { counts: Counts::Crash, .. } => "crash",
            Settlement::Release | Settlement::DeadLetter => "–",
        }
    }

    /// One row: what becomes of the first, second, third … of such failures in a row.
    fn row(name: &str, failure: Failure, times: u32, hours: i64) -> String {
        let of = |number: u32| match failure {
            Failure::LeaseHeld | Failure::OtherFirst => info(1, number - 1, 0),
            Failure::WorkerDied => info(1, 0, number - 1),
            _ => info(number, 0, 0),
        };
        let ends: Vec<Settlement> =
            (1..=times).map(|number| settlement(failure, &of(number), &rules(hours))).collect();
        let list = ends.iter().map(|end| words(*end)).collect::<Vec<_>>().join(", ");
        format!("| {name} | {list} | {} |", counted(ends[0]))
    }

    #[test]
    fn the_table_in_the_documentation_is_the_one_in_the_code() {
        let ninety = Duration::from_secs(90);
        let rows = [
            row(
                "passing: no connection, 5xx, a time-out, somebody else moved the branch",
                Failure::Transient,
                5,
                1,
            ),
            row("a service asks to wait (say 90 s)", Failure::RateLimited(ninety), 1, 1),
            row("the same, a day after the task was published", Failure::RateLimited(ninety), 5, 25),
            row(
                "the model's provider is down or unpaid (breaker open for 90 s)",
                Failure::Outage(ninety),
                1,
                1,
            ),
            row("permanent: 401, 403, 404, not allowed, not understood", Failure::Permanent, 1, 1),
            row("the lease is held by another worker", Failure::LeaseHeld, 5, 1),
            row("another run of the ticket has pushed and goes first", Failure::OtherFirst, 5, 1),
            row("the worker has to stop (drain)", Failure::Shutdown, 1, 1),
            row("the worker died over the task (came back twice unsettled)", Failure::WorkerDied, 3, 1),
        ];
        let document = include_str!("../../ARCHITECTURE.md");
        let shown: Vec<&str> = document
            .lines()
            .skip_while(|line| !line.starts_with("| failure |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(shown, rows, "\n{}", rows.join("\n"));
    }
}
