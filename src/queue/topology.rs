//! What has to exist on the broker, as plain data: <https://www.rabbitmq.com/docs/quorum-queues>.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;

use super::tiers::Tiers;

/// The exchange that takes tasks.
pub const TASKS_EXCHANGE: &str = "agent.tasks";
/// The exchange that takes tasks which wait for another attempt.
pub const RETRY_EXCHANGE: &str = "agent.retry";
/// The exchange that takes dead letters.
pub const DEAD_LETTER_EXCHANGE: &str = "agent.dlx";
/// The exchange that takes events, by `run.<task id>.<kind>`.
pub const EVENTS_EXCHANGE: &str = "agent.events";
/// The exchange that takes orders to all workers.
pub const CONTROL_EXCHANGE: &str = "agent.control";
/// The queue of tasks.
pub const TASKS_QUEUE: &str = "agent-tasks";
/// The queue of dead letters.
pub const DEAD_LETTER_QUEUE: &str = "agent-tasks.dlq";
/// The queue of events for the recorder.
pub const EVENTS_QUEUE: &str = "agent-events";

/// How many events wait for a recorder before the oldest are dropped.
const EVENTS_KEPT: i64 = 100_000;
/// How often a message may be handed out and come back. Looking at a dead letter must not consume it, and a
/// broker from 4.0 on would drop it after 20 looks. Zero and less drop messages on 3.10.
const DEAD_LETTER_LOOKS: i64 = 1_000_000;
/// How often a task may come back without us having settled it, by crashes and broken connections.
const TASK_RETURNS: i64 = 20;

/// The queue from which tasks go back to the workers after `delay`. One message's own time could not be honoured: the
/// broker expires messages at the head of a queue only.
#[must_use]
pub fn retry_queue(delay: Duration) -> String {
    let words = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    format!("{TASKS_QUEUE}.retry.{}", format!("{words:#}").replace(' ', ""))
}

/// An exchange; all are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// Its name.
    pub name: &'static str,
    /// `direct`, `fanout` or `topic`.
    pub kind: &'static str,
}

/// The value of a queue's argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
}

/// A queue; all are durable quorum queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<(&'static str, Argument)>,
    /// The exchange it is bound to, and the key.
    pub binding: (&'static str, String),
}

/// All exchanges.
pub const EXCHANGES: [ExchangeSpec; 5] = [
    ExchangeSpec { name: TASKS_EXCHANGE, kind: "direct" },
    ExchangeSpec { name: RETRY_EXCHANGE, kind: "direct" },
    ExchangeSpec { name: DEAD_LETTER_EXCHANGE, kind: "fanout" },
    ExchangeSpec { name: EVENTS_EXCHANGE, kind: "topic" },
    ExchangeSpec { name: CONTROL_EXCHANGE, kind: "fanout" },
];

/// All queues. What letters a queue sends on are kept until the target has them (`at-least-once`), which needs
/// `reject-publish`: <https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>.
#[must_use]
pub fn queues(tiers: &Tiers) -> Vec<QueueSpec> {
    let safe_dead_lettering = [
        ("x-dead-letter-strategy", Argument::Text("at-least-once")),
        ("x-overflow", Argument::Text("reject-publish")),
    ];
    let mut queues = vec![queue(
        TASKS_QUEUE,
        (TASKS_EXCHANGE, TASKS_QUEUE),
        &[
            ("x-delivery-limit", Argument::Number(TASK_RETURNS)),
            ("x-dead-letter-exchange", Argument::Text(DEAD_LETTER_EXCHANGE)),
        ],
    )];
    queues[0].arguments.extend(safe_dead_lettering);
    for delay in tiers.iter() {
        let milliseconds = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let name = retry_queue(delay);
        let mut waiting = queue(
            &name,
            (RETRY_EXCHANGE, &name),
            &[
                ("x-message-ttl", Argument::Number(milliseconds)),
                ("x-dead-letter-exchange", Argument::Text(TASKS_EXCHANGE)),
                ("x-dead-letter-routing-key", Argument::Text(TASKS_QUEUE)),
            ],
        );
        waiting.arguments.extend(safe_dead_lettering);
        queues.push(waiting);
    }
    let looks = [("x-delivery-limit", Argument::Number(DEAD_LETTER_LOOKS))];
    queues.push(queue(DEAD_LETTER_QUEUE, (DEAD_LETTER_EXCHANGE, ""), &looks));
    let bounds =
        [("x-max-length", Argument::Number(EVENTS_KEPT)), ("x-overflow", Argument::Text("drop-head"))];
    queues.push(queue(EVENTS_QUEUE, (EVENTS_EXCHANGE, "#"), &bounds));
    queues
}

fn queue(name: &str, binding: (&'static str, &str), arguments: &[(&'static str, Argument)]) -> QueueSpec {
    let mut all = vec![("x-queue-type", Argument::Text("quorum"))];
    all.extend_from_slice(arguments);
    QueueSpec { name: name.to_owned(), arguments: all, binding: (binding.0, binding.1.to_owned()) }
}

/// What `apply` left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopologyReport {
    /// The exchanges that exist now.
    pub exchanges: Vec<&'static str>,
    /// The queues that exist now.
    pub queues: Vec<String>,
    /// Present when `agent-tasks` is somebody else's.
    pub adopted: Option<Adopted>,
}

/// An `agent-tasks` that somebody else has declared, and in what it is not as ours would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted(pub String);

impl fmt::Display for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queue `{TASKS_QUEUE}` is adopted as somebody else declared it: {}; {LOST_BY_ADOPTION}",
            self.0
        )
    }
}

/// What an adopted queue may lack.
const LOST_BY_ADOPTION: &str = "as far as it is no quorum queue with a delivery limit and a dead-letter exchange, \
    there is no replication, nobody counts how often a task kills its worker, and nothing but the worker itself puts a task \
    among the dead letters";

/// One thing on the broker that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyProblem {
    /// What it is about, e.g. ``queue `agent-tasks` ``.
    pub object: String,
    /// What is wrong.
    pub kind: TopologyProblemKind,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyProblemKind {
    /// It does not exist.
    Missing,
    /// It exists with another argument; the broker's words.
    Differs(String),
    /// It cannot be adopted, for it does not keep what it accepted; the broker's words.
    Unfit(String),
    /// The broker did not let us look; its words.
    Unknown(String),
}

impl TopologyProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self.kind {
            TopologyProblemKind::Missing => "run `jira-agent-producer topology apply`",
            TopologyProblemKind::Differs(_) if self.object == queue_object(TASKS_QUEUE) => {
                "let it run empty, delete it and run `jira-agent-producer topology apply`; or set `queue.adopt = true` to \
                 use it as it is: without replication, a count of worker deaths, a delivery limit and dead-lettering by \
                 the broker, as far as it has none"
            }
            TopologyProblemKind::Differs(_) => {
                "let it run empty, delete it and run `jira-agent-producer topology apply`"
            }
            TopologyProblemKind::Unfit(_) => {
                "let it run empty, delete it and run `jira-agent-producer topology apply`: a queue that does not outlive \
                 its broker or its client loses accepted tasks, so it is not adopted"
            }
            TopologyProblemKind::Unknown(_) => "give the user of `queue.url` the right to configure `^agent`",
        }
    }
}

/// What is wrong; see [`TopologyProblem::fix`] for the remedy.
impl fmt::Display for TopologyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, kind } = self;
        match kind {
            TopologyProblemKind::Missing => write!(f, "{object} is missing"),
            TopologyProblemKind::Differs(difference) | TopologyProblemKind::Unfit(difference) => {
                write!(f, "{object} exists but is not as it should be: {difference}")
            }
            TopologyProblemKind::Unknown(refusal) => write!(f, "{object} could not be looked at: {refusal}"),
        }
    }
}

/// What a problem with this queue is about.
pub(super) fn queue_object(name: &str) -> String {
    format!("queue `{name}`")
}

/// Whether the broker's words name a property without which a queue does not keep what it has accepted.
pub(super) fn loses_tasks(reply: &str) -> bool {
    ["durable", "auto_delete", "exclusive"]
        .iter()
        .any(|property| reply.contains(&format!("inequivalent arg '{property}'")))
}

/// Reads the broker's `PRECONDITION_FAILED - inequivalent arg 'A' for queue 'Q' in vhost 'V': …` into the argument
/// and what was expected and found. Other texts come back whole.
pub(super) fn difference(reply: &str) -> String {
    let parsed = reply.split_once("inequivalent arg '").and_then(|(_, rest)| {
        let (argument, rest) = rest.split_once('\'')?;
        let (_, values) = rest.split_once("': ")?;
        Some(format!("argument `{argument}`: {values}"))
    });
    parsed.unwrap_or_else(|| reply.trim_start_matches("PRECONDITION_FAILED - ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers() -> Tiers {
        Tiers::new(&[30, 120, 600, 3600].map(Duration::from_secs))
    }

    #[test]
    fn a_retry_queue_is_named_after_its_delay() {
        let names: Vec<String> = tiers().iter().map(retry_queue).collect();
        let words = ["30s", "2m", "10m", "1h"].map(|delay| format!("agent-tasks.retry.{delay}"));
        assert_eq!(names, words);
        assert_eq!(retry_queue(Duration::from_millis(1500)), "agent-tasks.retry.1s500ms");
        assert_eq!(retry_queue(Duration::from_secs(5400)), "agent-tasks.retry.1h30m");
    }

    #[test]
    fn every_queue_is_bound_to_an_exchange_of_the_table() {
        for queue in queues(&tiers()) {
            assert!(EXCHANGES.iter().any(|exchange| exchange.name == queue.binding.0), "{}", queue.name);
            assert_eq!(queue.arguments[0], ("x-queue-type", Argument::Text("quorum")));
        }
    }

    #[test]
    fn no_queue_has_an_argument_that_loses_messages_or_is_refused_somewhere() {
        for queue in queues(&tiers()) {
            for (name, value) in &queue.arguments {
                assert!(
                    !["x-max-priority", "x-consumer-timeout", "x-expires"].contains(name),
                    "{}",
                    queue.name
                );
                if let Argument::Number(number) = value {
                    assert!(*number > 0, "{}: {name}", queue.name);
                }
            }
            // Dead-lettering at least once silently becomes at most once without `reject-publish`.
            let has = |value| queue.arguments.iter().any(|(_, held)| *held == Argument::Text(value));
            assert!(!has("at-least-once") || has("reject-publish"), "{}", queue.name);
        }
    }

    #[test]
    fn a_difference_names_the_argument_and_both_values() {
        let reply = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'agent-tasks' in vhost '/': \
                     received the value '20' of type 'long' but current is the value '5' of type 'long'";
        assert_eq!(
            difference(reply),
            "argument `x-delivery-limit`: received the value '20' of type 'long' but current is the value '5' of type 'long'"
        );
        assert_eq!(difference("PRECONDITION_FAILED - something else"), "something else");
    }

    #[test]
    fn a_problem_says_what_to_do() {
        let object = "queue `agent-tasks`".to_owned();
        let problem = TopologyProblem { object, kind: TopologyProblemKind::Missing };
        assert_eq!(problem.to_string(), "queue `agent-tasks` is missing");
        assert_eq!(problem.fix(), "run `jira-agent-producer topology apply`");
    }

    #[test]
    fn only_a_queue_that_keeps_its_tasks_can_be_adopted() {
        let reply = |argument: &str| {
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'agent-tasks' in vhost '/': \
                 received 'true' but current is 'false'"
            )
        };
        assert!(["durable", "auto_delete", "exclusive"].iter().all(|argument| loses_tasks(&reply(argument))));
        assert!(!loses_tasks(&reply("x-queue-type")));
    }

    #[test]
    fn both_ways_out_are_told_where_there_are_two() {
        let differs = TopologyProblemKind::Differs(String::new());
        let fix = |object: &str, kind| TopologyProblem { object: object.to_owned(), kind }.fix();
        let tasks = fix("queue `agent-tasks`", differs.clone());
        assert!(tasks.contains("delete it and run") && tasks.contains("`queue.adopt = true`"), "{tasks}");
        assert!(!fix("queue `agent-events`", differs).contains("adopt"));
        let unfit = fix("queue `agent-tasks`", TopologyProblemKind::Unfit(String::new()));
        assert!(unfit.contains("loses accepted tasks") && !unfit.contains("queue.adopt"), "{unfit}");
    }
}
