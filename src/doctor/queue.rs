//! The broker: by AMQP, and by its management API where that is configured.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::checks::way_to;
use super::{Finding, redis_server};
use crate::config::{Config, QueueKind};
use crate::http::{Http, HttpError, Safety};
use crate::queue::QueueError;
use crate::queue::rabbitmq::RabbitMq;
use crate::queue::topology::{DEAD_LETTER_QUEUE, TASKS_QUEUE};

const AREA: &str = "queue";

/// RabbitMQ's own `consumer_timeout`: <https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>.
const STOCK_TIMEOUT: Duration = Duration::from_mins(30);

pub(super) async fn examine(config: &Config, http: &Http) -> Vec<Finding> {
    match config.queue.kind {
        QueueKind::Rabbitmq => {}
        QueueKind::Redis => return redis_server::examine(config).await,
        QueueKind::Sqlite => return super::embedded::examine(config).await,
    }
    let mut findings = topology(config).await;
    findings.extend(consumer_timeout(config));
    findings.extend(management(config, http).await);
    findings
}

async fn topology(config: &Config) -> Vec<Finding> {
    let check = async { RabbitMq::connect(&config.queue, "jira-agent doctor").await?.check_topology().await };
    match check.await {
        Ok(problems) if problems.is_empty() => {
            vec![Finding::fine(AREA, "RabbitMQ answers, and exchanges and queues are complete")]
        }
        Ok(problems) => {
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
/// say so is checked with the settings. The broker itself tells its value to nobody.
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

#[derive(Deserialize)]
struct Overview {
    #[serde(default)]
    rabbitmq_version: String,
}

/// One queue: <https://www.rabbitmq.com/docs/http-api-reference#get-apiqueuesvhostname>. The counts are absent for the
/// first seconds of a queue's life.
#[derive(Deserialize)]
struct Queue {
    #[serde(default)]
    messages_ready: u64,
    #[serde(default)]
    messages_unacknowledged: u64,
    #[serde(default)]
    consumers: u64,
}

/// What waits, who works on it, and what nobody has looked at.
async fn management(config: &Config, http: &Http) -> Vec<Finding> {
    if config.queue.management_url.is_empty() {
        return Vec::new();
    }
    let Ok(api) = Url::parse(config.queue.management_url.expose()) else {
        // The settings are checked by themselves.
        return Vec::new();
    };
    let mut findings = Vec::new();
    match ask::<Overview>(http, &api, &["overview"]).await {
        Ok(overview) => findings.push(Finding::fine(
            AREA,
            format!("the management API answers: RabbitMQ {}", overview.rabbitmq_version),
        )),
        Err(error) => return vec![management_failed(error)],
    }
    let vhost = vhost(config.queue.address());
    if let Ok(tasks) = ask::<Queue>(http, &api, &["queues", &vhost, TASKS_QUEUE]).await {
        findings.push(backlog(&tasks));
    }
    if let Ok(dead) = ask::<Queue>(http, &api, &["queues", &vhost, DEAD_LETTER_QUEUE]).await
        && dead.messages_ready > 0
    {
        findings.push(Finding::warning(
            AREA,
            format!("{} in {DEAD_LETTER_QUEUE} wait for a person", counted(dead.messages_ready, "task")),
            "read `x-reason` in their headers, mend the cause, enqueue their tickets again, and purge the queue",
        ));
    }
    findings
}

fn backlog(tasks: &Queue) -> Finding {
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

/// Asks the management API at `api`, whose user and password go into a header.
async fn ask<T: DeserializeOwned>(http: &Http, api: &Url, path: &[&str]) -> anyhow::Result<T> {
    let mut url = api.clone();
    // None of these fails on an http address.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("api").extend(path);
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(api.username()), api.password().map(decoded));
    let request = http.client().get(url).basic_auth(user, password).build();
    let request = request.map_err(reqwest::Error::without_url)?;
    let answer = http.send(request, Safety::Idempotent).await?;
    Ok(serde_json::from_slice(&answer.body)?)
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
        let queue = |ready, consumers| Queue { messages_ready: ready, messages_unacknowledged: 0, consumers };
        assert_eq!(backlog(&queue(0, 0)).level, Level::Fine);
        assert_eq!(backlog(&queue(3, 1)).level, Level::Fine);
        let waiting = backlog(&queue(1, 0));
        assert_eq!(waiting.level, Level::Warning);
        assert_eq!(waiting.text, "agent-tasks: 1 task ready, 0 with workers, 0 consumers");
    }
}
