//! Declares the topology, or looks whether it is there: <https://www.rabbitmq.com/docs/queues#properties>.

use std::collections::BTreeMap;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::connection::{Failure, Link};
use crate::queue::QueueError;
use crate::queue::tiers::Tiers;
use crate::queue::topology::{
    Adopted, Argument, EXCHANGES, ExchangeSpec, QueueSpec, TASKS_QUEUE, TopologyProblem, TopologyProblemKind,
    TopologyReport, difference, loses_tasks, queue_object, queues,
};

/// What should be there.
pub(super) struct Wanted {
    /// How long tasks wait.
    pub(super) tiers: Tiers,
    /// Whether an `agent-tasks` that differs is used as it is.
    pub(super) adopt: bool,
}

/// Declares everything; what is there already stays as it is.
pub(super) async fn apply(link: &Link, wanted: &Wanted) -> Result<TopologyReport, QueueError> {
    let fail = |failure: Failure| failure.into_error(link.host());
    let mut report = TopologyReport::default();
    let mut channel = link.channel().await.map_err(fail)?;
    for exchange in EXCHANGES {
        let declared = declare_exchange(link, &channel, exchange, false).await;
        declared.map_err(|failure| explain(link, exchange_name(exchange), failure))?;
        report.exchanges.push(exchange.name);
    }
    for queue in queues(&wanted.tiers) {
        if let Err(failure) = declare_queue(link, &channel, &queue, false).await {
            let Some(adopted) = wanted.adopts(&queue, &failure) else {
                return Err(explain(link, queue_object(&queue.name), failure));
            };
            report.adopted = Some(adopted);
            // The broker closes the channel on which it says no.
            channel = link.channel().await.map_err(fail)?;
        }
        let (exchange, key) = &queue.binding;
        let options = QueueBindOptions::default();
        let bind = channel.queue_bind(
            queue.name.as_str().into(),
            (*exchange).into(),
            key.as_str().into(),
            options,
            FieldTable::default(),
        );
        link.call(bind).await.map_err(fail)?;
        report.queues.push(queue.name);
    }
    Ok(report)
}

/// Looks at everything and creates nothing. The broker cannot be asked for bindings this way; `apply` renews them.
pub(super) async fn check(link: &Link, wanted: &Wanted) -> Result<Vec<TopologyProblem>, QueueError> {
    let mut problems = Vec::new();
    for exchange in EXCHANGES {
        let found =
            look(link, async |channel, passive| declare_exchange(link, channel, exchange, passive).await);
        note(link, &mut problems, exchange_name(exchange), found.await)?;
    }
    for queue in queues(&wanted.tiers) {
        let found = look_at_queue(link, &queue).await;
        if !found.as_ref().is_err_and(|failure| wanted.adopts(&queue, failure).is_some()) {
            note(link, &mut problems, queue_object(&queue.name), found)?;
        }
    }
    Ok(problems)
}

/// The `agent-tasks` of somebody else, if there is one and it may be used.
pub(super) async fn adopted(link: &Link, wanted: &Wanted) -> Result<Option<Adopted>, QueueError> {
    for queue in queues(&wanted.tiers) {
        if queue.name == TASKS_QUEUE {
            return match look_at_queue(link, &queue).await {
                Err(failure @ Failure::Lost(_)) => Err(failure.into_error(link.host())),
                Err(failure) => Ok(wanted.adopts(&queue, &failure)),
                Ok(()) => Ok(None),
            };
        }
    }
    Ok(None)
}

impl Wanted {
    /// Whether the queue can be used although the broker said this when it was declared as ours. A queue that does not keep
    /// what it has accepted cannot: the broker compares durability and the like before all arguments.
    fn adopts(&self, queue: &QueueSpec, failure: &Failure) -> Option<Adopted> {
        let differs = self.adopt && queue.name == TASKS_QUEUE && failure.is(Failure::PRECONDITION_FAILED);
        (differs && !loses_tasks(failure.text())).then(|| Adopted(difference(failure.text())))
    }
}

/// How many messages are ready in each queue. What a worker holds is not counted.
pub(super) async fn depths(link: &Link, tiers: &Tiers) -> Result<BTreeMap<String, u32>, QueueError> {
    let mut depths = BTreeMap::new();
    let channel = link.channel().await.map_err(|failure| failure.into_error(link.host()))?;
    for queue in queues(tiers) {
        let declared = declare_queue(link, &channel, &queue, true).await;
        let count = declared.map_err(|failure| explain(link, queue_object(&queue.name), failure))?;
        depths.insert(queue.name, count);
    }
    Ok(depths)
}

/// First passively, which shows whether it exists; then as it should be, which shows whether it is so and, as it
/// exists, creates nothing. A refusal closes the channel, so each object has its own.
async fn look(
    link: &Link,
    declare: impl AsyncFn(&Channel, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let channel = link.channel().await?;
    declare(&channel, true).await?;
    declare(&channel, false).await
}

async fn look_at_queue(link: &Link, queue: &QueueSpec) -> Result<(), Failure> {
    look(link, async |channel, passive| declare_queue(link, channel, queue, passive).await.map(drop)).await
}

fn note(
    link: &Link,
    problems: &mut Vec<TopologyProblem>,
    object: String,
    found: Result<(), Failure>,
) -> Result<(), QueueError> {
    if let Err(failure) = found {
        let problem = problem(object, &failure).ok_or_else(|| failure.into_error(link.host()))?;
        problems.push(problem);
    }
    Ok(())
}

fn explain(link: &Link, object: String, failure: Failure) -> QueueError {
    match problem(object, &failure) {
        Some(problem) if !failure.is(Failure::ACCESS_REFUSED) => {
            QueueError::Topology(format!("{problem}; {}", problem.fix()))
        }
        _ => failure.into_error(link.host()),
    }
}

fn problem(object: String, failure: &Failure) -> Option<TopologyProblem> {
    let Failure::Reply { code, text } = failure else {
        return None;
    };
    let kind = match *code {
        Failure::NOT_FOUND => TopologyProblemKind::Missing,
        Failure::PRECONDITION_FAILED if object == queue_object(TASKS_QUEUE) && loses_tasks(text) => {
            TopologyProblemKind::Unfit(difference(text))
        }
        Failure::RESOURCE_LOCKED if object == queue_object(TASKS_QUEUE) => {
            TopologyProblemKind::Unfit(difference(text))
        }
        Failure::PRECONDITION_FAILED | Failure::RESOURCE_LOCKED => {
            TopologyProblemKind::Differs(difference(text))
        }
        Failure::ACCESS_REFUSED => TopologyProblemKind::Unknown(text.clone()),
        _ => return None,
    };
    Some(TopologyProblem { object, kind })
}

fn exchange_name(exchange: ExchangeSpec) -> String {
    format!("exchange `{}`", exchange.name)
}

async fn declare_exchange(
    link: &Link,
    channel: &Channel,
    exchange: ExchangeSpec,
    passive: bool,
) -> Result<(), Failure> {
    let kind = match exchange.kind {
        "topic" => ExchangeKind::Topic,
        "fanout" => ExchangeKind::Fanout,
        _ => ExchangeKind::Direct,
    };
    let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    let declare = channel.exchange_declare(exchange.name.into(), kind, options, FieldTable::default());
    link.call(declare).await
}

/// The number of messages that are ready in it.
async fn declare_queue(
    link: &Link,
    channel: &Channel,
    queue: &QueueSpec,
    passive: bool,
) -> Result<u32, Failure> {
    let mut options = QueueDeclareOptions::durable();
    options.passive = passive;
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString((*text).into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert((*name).into(), value);
    }
    let declared = link.call(channel.queue_declare(queue.name.as_str().into(), options, arguments)).await?;
    Ok(declared.message_count())
}
