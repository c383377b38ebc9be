//! The broker: by AMQP, and by its management API where that is configured.

use std::iter;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use url::Url;

use super::checks::way_to;
use super::{Finding, redis_server};
use crate::config::{Config, QueueKind};
use crate::http::{Http, HttpError};
use crate::queue::QueueError;
use crate::queue::rabbitmq::RabbitMq;
use crate::queue::rabbitmq::management::{self, AckTimeout, Management, QueueCounts, STOCK_TIMEOUT};
use crate::queue::topology::{DEAD_LETTER_QUEUE, TASKS_QUEUE};

const AREA: &str = "queue";

pub(super) async fn examine(config: &Config, http: &Http) -> Vec<Finding> {
    match config.queue.kind {
        QueueKind::Rabbitmq => {}
        QueueKind::Sqlite => return super::embedded::examine(config).await,
        QueueKind::Redis => return redis_server::examine(config).await,
    }
    let mut findings = topology(config).await;
    let vhost = vhost(config.queue.address());
    match Management::new(http, &config.queue.management_url, &vhost) {
        Some(broker) => findings.extend(management(config, &broker).await),
        None => findings.extend(consumer_timeout(config)),
    }
    findings
}

async fn topology(config: &Config) -> Vec<Finding> {
    let check = async {
        let broker = RabbitMq::connect(&config.queue, "jira-agent doctor").await?;
        let problems = broker.check_topology().await?;
        Ok((problems, if config.queue.adopt { broker.adopted().await? } else { None }))
    };
    match check.await {
        Ok((problems, adopted)) if problems.is_empty() => {
            let fine = Finding::fine(AREA, "RabbitMQ answers, and exchanges and queues are complete");
            let adopted = adopted.map(|adopted| {
                let fix = "nothing, if you can do without; else let the queue run empty, delete it, unset `queue.adopt` \
                           and run `jira-agent-producer topology apply`";
                Finding::warning(AREA, adopted.to_string(), fix)
            });
            iter::once(fine).chain(adopted).collect()
        }
        Ok((problems, _)) => {
            problems.iter().map(|problem| Finding::broken(AREA, problem.to_string(), problem.fix())).collect()
        }
        Err(error) => {
            let fix = match &error {
                QueueError::Unreachable(_) => "start RabbitMQ, or correct queue.url (AMQP_URL)",
                QueueError::Settings(_) => "correct section [queue]",
                _ => "correct user, password and virtual host in queue.url (AMQP_URL), or the user's rights",
            };
            vec![Finding::broken(AREA, error.to_string(), fix)]
        }
    }
}

/// The broker takes a delivery back after its `consumer_timeout`, which therefore has to exceed a run; that the settings
/// say so is checked with the settings. Here the broker's own value is not known.
fn consumer_timeout(config: &Config) -> Option<Finding> {
    let (limit, deadline) = (config.queue.consumer_timeout, config.worker.run_deadline);
    if limit <= deadline {
        return None;
    }
    if limit <= STOCK_TIMEOUT {
        let text = format!(
            "a run ends after {} at most, before the broker takes its task back ({})",
            minutes(deadline),
            minutes(limit)
        );
        return Some(Finding::fine(AREA, text));
    }
    Some(Finding::warning(
        AREA,
        format!("queue.consumer_timeout is {}, above RabbitMQ's own 30 min", minutes(limit)),
        format!("make sure that rabbitmq.conf has consumer_timeout = {}", limit.as_millis()),
    ))
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// What the broker allows, what waits, who works on it, and what nobody has looked at.
async fn management(config: &Config, broker: &Management<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match broker.version().await {
        Ok(version) => {
            findings.push(Finding::fine(AREA, format!("the management API answers: RabbitMQ {version}")));
        }
        Err(error) => {
            findings.extend(consumer_timeout(config));
            findings.push(management_failed(error));
            return findings;
        }
    }
    let run = config.worker.run_deadline + config.time_to_end();
    findings.extend(match broker.consumer_timeout(config.queue.consumer_timeout).await {
        Ok(AckTimeout::Never) => None,
        Ok(AckTimeout::Known(limit, place)) if limit > run => {
            let text = format!("the broker lets a task be held for {} ({place})", minutes(limit));
            Some(Finding::fine(AREA, text))
        }
        Ok(AckTimeout::Known(limit, place)) => {
            let fix = "raise that limit, or lower worker.run_deadline";
            Some(Finding::broken(AREA, management::too_short(limit, place, run), fix))
        }
        Ok(AckTimeout::Untold(_)) | Err(_) => consumer_timeout(config),
    });
    if let Ok(tasks) = broker.counts(TASKS_QUEUE).await {
        findings.push(backlog(&tasks));
    }
    if let Ok(dead) = broker.counts(DEAD_LETTER_QUEUE).await
        && dead.messages_ready > 0
    {
        findings.push(Finding::warning(
            AREA,
            format!("{} in {DEAD_LETTER_QUEUE} wait for a person", counted(dead.messages_ready, "task")),
            "read them with `jira-agent-producer dead-letters list`, mend the cause, and replay or drop them",
        ));
    }
    findings
}

fn backlog(tasks: &QueueCounts) -> Finding {
    let text = format!(
        "{TASKS_QUEUE}: {} ready, {} with workers, {}",
        counted(tasks.messages_ready, "task"),
        tasks.messages_unacknowledged,
        counted(tasks.consumers, "consumer"),
    );
    if tasks.messages_ready > 0 && tasks.consumers == 0 {
        return Finding::warning(AREA, text, "start a worker: jira-agent-worker run");
    }
    Finding::fine(AREA, text)
}

fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn management_failed(error: anyhow::Error) -> Finding {
    let fix = match error.downcast_ref::<HttpError>() {
        Some(error) if matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            "correct user and password in queue.management_url; the user needs the tag `monitoring`"
                .to_owned()
        }
        Some(error) => way_to(error, "queue.management_url"),
        None => "correct queue.management_url: the address before /api, e.g. http://user:password@host:15672"
            .to_owned(),
    };
    Finding::broken(AREA, format!("the management API: {error:#}"), fix)
}

/// The virtual host in an AMQP address; none, and a lone slash, mean `/`.
fn vhost(address: &str) -> String {
    let path = Url::parse(address).map(|url| url.path().trim_start_matches('/').to_owned());
    let vhost = path.map(|path| percent_decode_str(&path).decode_utf8_lossy().into_owned());
    vhost.ok().filter(|vhost| !vhost.is_empty()).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_virtual_host_is_read_from_every_form_of_the_address() {
        for (address, expected) in [
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://u:p@h:5672/%2f", "/"),
            ("amqps://h/agents", "agents"),
            ("amqp://h/a%2Fb", "a/b"),
        ] {
            assert_eq!(vhost(address), expected, "{address}");
        }
    }

    #[test]
    fn tasks_that_nobody_consumes_are_a_warning() {
        let queue =
            |ready, consumers| QueueCounts { messages_ready: ready, messages_unacknowledged: 0, consumers };
        assert_eq!(backlog(&queue(0, 0)).level, Level::Fine);
        assert_eq!(backlog(&queue(3, 1)).level, Level::Fine);
        let waiting = backlog(&queue(1, 0));
        assert_eq!(waiting.level, Level::Warning);
        assert_eq!(waiting.text, "agent-tasks: 1 task ready, 0 with workers, 0 consumers");
    }
}
