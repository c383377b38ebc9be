use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Finding;
use crate::config::{Config, ModelProvider, Needs, QueueKind};
use crate::github::GitHub;
use crate::http::{Http, HttpError, Safety};
use crate::jira::Jira;
use crate::queue::rabbitmq::RabbitMq;

/// A clock that is off by more than this makes old news look new.
const SKEW_LIMIT: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn settings(config: &Config) -> Vec<Finding> {
    match config.check(Needs::Worker) {
        Ok(()) => vec![Finding::fine("settings", "complete for a worker")],
        Err(error) => {
            let broken = |problem: &crate::config::Problem| {
                Finding::broken(
                    "settings",
                    format!("{}: {}", problem.field, problem.why),
                    problem.fix.clone(),
                )
            };
            error.problems.iter().map(broken).collect()
        }
    }
}

pub(super) async fn queue(config: &Config, http: &Http) -> Vec<Finding> {
    if config.queue.kind != QueueKind::Rabbitmq {
        return vec![Finding::fine("queue", "embedded: nothing to reach")];
    }
    let broker = match RabbitMq::connect(&config.queue, "jira-agent doctor").await {
        Ok(broker) => broker,
        Err(error) => {
            return vec![Finding::broken(
                "queue",
                error.to_string(),
                "start RabbitMQ, or correct queue.url (AMQP_URL)",
            )];
        }
    };
    let mut findings = vec![Finding::fine("queue", "RabbitMQ answers")];
    match broker.check_topology().await {
        Ok(problems) if problems.is_empty() => {
            findings.push(Finding::fine("queue", "the topology is complete"));
        }
        Ok(problems) => findings.extend(problems.iter().map(|problem| {
            Finding::broken("queue", problem.to_string(), "jira-agent-producer topology apply")
        })),
        Err(error) => {
            findings.push(Finding::broken("queue", error.to_string(), "let the user read the queues"));
        }
    }
    findings.push(consumer_timeout(config, http).await);
    findings
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    name: String,
}

/// The broker takes a delivery back after its `consumer_timeout`, which therefore has to exceed a run. The
/// management API does not tell the value, so it is compared with the one in the settings, and said what to look at.
async fn consumer_timeout(config: &Config, http: &Http) -> Finding {
    let (limit, deadline) = (config.queue.consumer_timeout, config.worker.run_deadline);
    if limit <= deadline {
        return Finding::broken(
            "queue",
            format!("queue.consumer_timeout {limit:?} does not exceed worker.run_deadline {deadline:?}"),
            "raise consumer_timeout in rabbitmq.conf and in queue.consumer_timeout, or lower worker.run_deadline",
        );
    }
    let stock = Duration::from_secs(30 * 60);
    let nodes = nodes(config, http).await;
    if limit <= stock {
        return Finding::fine(
            "queue",
            format!("a run ({deadline:?}) ends before the broker's stock time-out (30 min)"),
        );
    }
    Finding::warning(
        "queue",
        format!("queue.consumer_timeout is {limit:?}, above RabbitMQ's own 30 min{nodes}"),
        format!("make sure that rabbitmq.conf has consumer_timeout = {}", limit.as_millis()),
    )
}

async fn nodes(config: &Config, http: &Http) -> String {
    let url = config.queue.management_url.expose();
    let Ok(url) = url::Url::parse(url).and_then(|url| url.join("api/nodes")) else { return String::new() };
    let mut bare = url.clone();
    // Neither can fail on an http address.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let request = http.client().get(bare).basic_auth(url.username(), url.password()).build();
    let Ok(request) = request else { return String::new() };
    match http.send(request, Safety::Idempotent).await {
        Ok(answer) => {
            let nodes: Vec<Node> = serde_json::from_slice(&answer.body).unwrap_or_default();
            let names: Vec<String> = nodes.into_iter().map(|node| node.name).collect();
            format!(" (nodes: {})", names.join(", "))
        }
        Err(error) => format!(" (the management API: {error})"),
    }
}

pub(super) async fn jira(config: &Config, http: &Http) -> Vec<Finding> {
    if config.jira.url.is_none() {
        return vec![Finding::warning(
            "jira",
            "no Jira is configured",
            "set jira.url, unless you use GitHub issues only",
        )];
    }
    let jira = match Jira::new(&config.jira, http.clone()) {
        Ok(jira) => jira,
        Err(error) => return vec![Finding::broken("jira", error.to_string(), "correct section [jira]")],
    };
    let mut findings = Vec::new();
    match jira.myself().await {
        Ok(user) => findings.push(Finding::fine("jira", format!("signed in as {}", user.name))),
        Err(error) => findings.push(Finding::broken(
            "jira",
            error.to_string(),
            "check jira.url, jira.email and jira.token; a scoped token needs jira.api_url",
        )),
    }
    if let Ok(time) = jira.server_time().await {
        findings.push(clock("jira", time));
    }
    findings
}

pub(super) async fn github(config: &Config, http: &Http) -> Vec<Finding> {
    let github = GitHub::new(&config.github, http.clone());
    let mut findings = Vec::new();
    match github.user().await {
        Ok(login) => findings.push(Finding::fine("github", format!("signed in as {login}"))),
        Err(error) => {
            let fix = "check github.token (GIT_TOKEN) and github.api_url";
            return vec![Finding::broken("github", error.to_string(), fix)];
        }
    }
    for route in &config.routes {
        let slug = route.repo.slug();
        findings.push(match github.repository(slug).await {
            Ok(repository) if repository.archived => {
                Finding::broken("github", format!("{slug} is archived"), "take its route out")
            }
            Ok(repository) if repository.may_push == Some(false) => Finding::broken(
                "github",
                format!("the token may not push to {slug}"),
                "give it contents: write, issues: write and pull requests: write",
            ),
            Ok(_) => Finding::fine("github", format!("{slug} can be pushed to")),
            Err(error) => {
                Finding::broken("github", error.to_string(), "check the route and what the token may see")
            }
        });
    }
    findings
}

/// Asks for the list of models: it costs nothing and needs the key.
pub(super) async fn model(config: &Config, http: &Http) -> Vec<Finding> {
    let model = &config.model;
    let request = http.client();
    let base = model.base_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    let or = |default: &str| base.clone().unwrap_or_else(|| default.to_owned());
    let request = match model.provider {
        ModelProvider::Anthropic => request
            .get(format!("{}/v1/models", or("https://api.anthropic.com")))
            .header("x-api-key", model.api_key.expose())
            .header("anthropic-version", "2023-06-01"),
        ModelProvider::Openai => request
            .get(format!("{}/models", or("https://api.openai.com/v1")))
            .bearer_auth(model.api_key.expose()),
        ModelProvider::Ollama => request.get(format!("{}/api/tags", or("http://127.0.0.1:11434"))),
    };
    let request = match request.build() {
        Ok(request) => request,
        Err(error) => {
            return vec![Finding::broken(
                "model",
                error.to_string(),
                "correct model.base_url or model.api_key",
            )];
        }
    };
    vec![match http.send(request, Safety::Idempotent).await {
        Ok(answer) if String::from_utf8_lossy(&answer.body).contains(model.name.as_str()) => {
            Finding::fine("model", format!("{} is offered", model.name))
        }
        Ok(_) => Finding::warning(
            "model",
            format!("the service answers, but its list does not name {}", model.name),
            "check model.name; an alias may work all the same",
        ),
        Err(error @ HttpError::Unreachable { .. }) => {
            Finding::broken("model", error.to_string(), "check model.base_url and the proxy")
        }
        Err(error) => Finding::broken("model", error.to_string(), "check model.api_key"),
    }]
}

fn clock(area: &'static str, server: Timestamp) -> Finding {
    let skew = Timestamp::now().duration_since(server);
    if skew.abs() > SKEW_LIMIT {
        return Finding::broken(
            area,
            format!("this machine's clock is off by {} s", skew.as_secs()),
            "set the clock (NTP): which input is newer is decided by time",
        );
    }
    Finding::fine(area, "the clocks agree")
}
