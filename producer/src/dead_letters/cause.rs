//! Why a task is a dead letter, as far as it tells, and what a person does about it.

use jira_agent::domain::TaskBody;
use jira_agent::output;
use jira_agent::queue::DeadLetter;
use serde::Serialize;

/// The kind of a death, which decides what to do next.
///
/// A worker leaves the reason in words. What they say is only looked at for advice; nothing that the product does
/// depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The body is no task.
    Unreadable,
    /// The broker put it here by itself.
    Broker,
    /// It killed its workers.
    WorkerDied,
    /// Its repository is not among the routes.
    NotRouted,
    /// Its ticket or its repository is not there for us.
    NotFound,
    /// This version does not do that.
    NotSupported,
    /// The model's service wants money or has no such model.
    Model,
    /// A token is wrong or may not do enough.
    Credentials,
    /// It failed as often as it may.
    AttemptsUsedUp,
    /// Anything else.
    Other,
}

/// Parts of reasons that tell, in the order in which they are looked for.
const TELLING: &[(&str, Cause)] = &[
    ("the worker died", Cause::WorkerDied),
    ("not among the configured routes", Cause::NotRouted),
    ("is not carried out by this version", Cause::NotSupported),
    ("needs the number of an issue", Cause::NotFound),
    ("is not in Jira, or", Cause::NotFound),
    ("is not on GitHub, or", Cause::NotFound),
    ("does not exist or the token may not see it", Cause::NotFound),
    ("asks for payment", Cause::Model),
    ("does not know the model", Cause::Model),
    ("no Jira is configured", Cause::Credentials),
    ("does not accept the credentials", Cause::Credentials),
    ("refused the token", Cause::Credentials),
    ("refuses access", Cause::Credentials),
    ("Jira forbids", Cause::Credentials),
    ("GitHub forbids", Cause::Credentials),
];

impl Cause {
    /// Of this letter.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> Self {
        if TaskBody::parse(&letter.body).is_err() {
            return Self::Unreadable;
        }
        let Some(reason) = &letter.reason else { return Self::Broker };
        let told = TELLING.iter().find(|(part, _)| reason.contains(part));
        match told {
            Some((_, cause)) => *cause,
            None if letter.info.crashes >= 3 => Self::WorkerDied,
            None if letter.info.attempt > 1 => Self::AttemptsUsedUp,
            None => Self::Other,
        }
    }

    /// What to do before the commands that follow.
    #[must_use]
    pub fn advice(self, letter: &DeadLetter) -> String {
        match self {
            Self::Unreadable => "No worker can read this body. Put a corrected task on the queue with \
                `jira-agent-producer enqueue`, and drop this one."
                .to_owned(),
            Self::Broker => "The broker put it here by itself, without a worker's reason: its delivery limit was \
                reached, or its queue was deleted or purged by policy. See why workers took it and never settled it \
                (their memory limit, their logs), then replay it."
                .to_owned(),
            Self::WorkerDied => {
                let step = letter.step.as_deref().map_or_else(String::new, |step| format!(" in step {step}"));
                format!(
                    "Its workers died{step}. Compare their memory limit with the size of that repository, look at their \
                     last log lines, then replay it."
                )
            }
            Self::NotRouted => "Add a [[routes]] entry for the repository to the workers' settings and restart them, \
                then replay it. If the repository should never be touched, drop it."
                .to_owned(),
            Self::NotFound => "What the reason names does not exist, or the workers' account may not see it. Give the \
                account the right to see it, then replay; or drop it."
                .to_owned(),
            Self::NotSupported => "Enqueue the ticket in a mode that the workers carry out, and drop this one; or \
                update the workers, then replay it."
                .to_owned(),
            Self::Model => "Look at the account of the model's service (credit, limits) and at model.name, then replay \
                it."
                .to_owned(),
            Self::Credentials => "Mend the token or give it the right that the reason names, restart the workers with \
                it (`jira-agent-worker doctor` says whether it does), then replay it."
                .to_owned(),
            Self::AttemptsUsedUp => format!(
                "It failed {} times. See whether the service that the reason names works again \
                 (`jira-agent-worker doctor`), then replay it.",
                letter.info.attempt
            ),
            Self::Other => "Mend what the reason names, then replay it; or drop it.".to_owned(),
        }
    }

    /// The commands that are the next action, for a letter's id as it may be printed.
    #[must_use]
    pub fn commands(self, id: &str) -> Vec<String> {
        let id = output::shell_word(id);
        // An id that begins with a dash is no flag.
        let end_of_flags = if id.starts_with('-') { "-- " } else { "" };
        let command = |verb: &str| format!("jira-agent-producer dead-letters {verb} {end_of_flags}{id}");
        match self {
            Self::Unreadable => vec![command("drop")],
            Self::NotRouted | Self::NotFound | Self::NotSupported | Self::Other => {
                vec![command("replay"), command("drop")]
            }
            _ => vec![command("replay")],
        }
    }
}
