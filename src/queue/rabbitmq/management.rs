//! What only the management API tells: <https://www.rabbitmq.com/docs/http-api-reference>.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::http::{Http, HttpError, Safety};
use crate::queue::QueueError;
use crate::queue::topology::TASKS_QUEUE;
use crate::secret::Secret;

/// RabbitMQ's own `consumer_timeout`: <https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>.
pub const STOCK_TIMEOUT: Duration = Duration::from_mins(30);

/// The first release in which a queue and a policy can have their own time-out.
const BY_QUEUE: (u32, u32) = (3, 12);
/// The first release in which a consumer's own comes before all others, and classic queues have none.
const BY_CONSUMER: (u32, u32) = (4, 3);

/// The API of the broker at `queue.management_url`.
pub struct Management<'http> {
    http: &'http Http,
    api: Url,
    vhost: String,
}

/// The broker's limit on how long a delivery of `agent-tasks` may stay unacknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckTimeout {
    /// There is none.
    Never,
    /// It is this, and set there.
    Known(Duration, &'static str),
    /// This release shows it to nobody.
    Untold(String),
}

/// A queue's counts, which are absent for the first seconds of its life.
#[derive(Debug, Deserialize)]
pub struct QueueCounts {
    /// Waiting for a consumer.
    #[serde(default)]
    pub messages_ready: u64,
    /// With consumers.
    #[serde(default)]
    pub messages_unacknowledged: u64,
    /// Who consumes.
    #[serde(default)]
    pub consumers: u64,
}

#[derive(Deserialize)]
struct Overview {
    #[serde(default)]
    rabbitmq_version: String,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    effective_policy_definition: Value,
}

impl<'http> Management<'http> {
    /// The API at `url`; `None` when there is none or it is no address, which the settings' own checks report.
    #[must_use]
    pub fn new(http: &'http Http, url: &Secret, vhost: &str) -> Option<Self> {
        let api = Url::parse(url.expose()).ok()?;
        Some(Self { http, api, vhost: vhost.to_owned() })
    }

    /// The broker's version, e.g. `3.10.8`.
    ///
    /// # Errors
    /// When the API cannot be reached, refuses ([`HttpError`] is in the chain) or answers something else.
    pub async fn version(&self) -> anyhow::Result<String> {
        Ok(self.ask::<Overview>(&["overview"]).await?.rabbitmq_version)
    }

    /// What is in a queue.
    ///
    /// # Errors
    /// As [`Management::version`], and when there is no such queue.
    pub async fn counts(&self, queue: &str) -> anyhow::Result<QueueCounts> {
        self.ask(&["queues", &self.vhost, queue]).await
    }

    /// The limit for a consumer that asks for `wanted` itself.
    ///
    /// # Errors
    /// As [`Management::version`]. A queue that does not exist yet is none.
    pub async fn consumer_timeout(&self, wanted: Duration) -> anyhow::Result<AckTimeout> {
        let version = self.version().await?;
        let limits: Option<Limits> = match self.ask(&["queues", &self.vhost, TASKS_QUEUE]).await {
            Ok(limits) => Some(limits),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(effective(version, limits.as_ref(), wanted))
    }

    /// Asks for JSON; user and password of the address go into a header.
    async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        let mut url = self.api.clone();
        // None of these fails on an http address.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(self.api.username()), self.api.password().map(decoded));
        let request = self.http.client().get(url).basic_auth(user, password).build();
        let request = request.map_err(reqwest::Error::without_url)?;
        let answer = self.http.send(request, Safety::Idempotent).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<HttpError>().and_then(HttpError::status);
    status == Some(reqwest::StatusCode::NOT_FOUND)
}

/// Which of the places where the limit can be set counts: before 3.12 only the node's settings; then also the lower one of
/// the queue's argument and a policy; from 4.3 on the consumer's argument, which is ours, first of all.
fn effective(version: String, queue: Option<&Limits>, wanted: Duration) -> AckTimeout {
    let release = release(&version);
    if release >= Some(BY_CONSUMER) {
        return match queue {
            Some(queue) if queue.kind != "quorum" => AckTimeout::Never,
            _ => AckTimeout::Known(
                wanted,
                "by queue.consumer_timeout, which this release lets a worker set itself",
            ),
        };
    }
    let milliseconds = |value: &Value| value.as_u64().filter(|limit| *limit > 0).map(Duration::from_millis);
    let set = queue.filter(|_| release >= Some(BY_QUEUE)).and_then(|queue| {
        let argument = milliseconds(&queue.arguments["x-consumer-timeout"]);
        let policy = milliseconds(&queue.effective_policy_definition["consumer-timeout"]);
        let argument = argument.map(|limit| (limit, "by the queue's argument `x-consumer-timeout`"));
        let policy = policy.map(|limit| (limit, "by the policy key `consumer-timeout`"));
        argument.into_iter().chain(policy).min()
    });
    match set {
        Some((limit, place)) => AckTimeout::Known(limit, place),
        None => AckTimeout::Untold(version),
    }
}

/// Major and minor of a version.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether a run that ends after `run` at most is within the limit; a limit that is not known is told in words.
pub(super) fn preflight(
    asked: Option<anyhow::Result<AckTimeout>>,
    wanted: Duration,
    run: Duration,
) -> Result<Vec<String>, QueueError> {
    let why = match asked {
        Some(Ok(AckTimeout::Never)) => return Ok(Vec::new()),
        Some(Ok(AckTimeout::Known(limit, place))) if limit > run => {
            let held =
                format!("the broker lets a task be held for {limit:?} ({place}); a run ends within {run:?}");
            return Ok(vec![held]);
        }
        Some(Ok(AckTimeout::Known(limit, place))) => {
            return Err(QueueError::Settings(too_short(limit, place, run)));
        }
        Some(Ok(AckTimeout::Untold(version))) => format!("RabbitMQ {version} does not tell it"),
        Some(Err(error)) => format!("the management API did not tell it: {error:#}"),
        None => "queue.management_url is not set".to_owned(),
    };
    Ok(vec![format!(
        "how long the broker lets a task be held is not known ({why}); a run ends within {run:?}: make sure that \
         consumer_timeout in rabbitmq.conf, {STOCK_TIMEOUT:?} by default, is at least {} (milliseconds)",
        wanted.as_millis()
    )])
}

/// What is wrong with a limit that a run does not fit into, and what to do.
#[must_use]
pub fn too_short(limit: Duration, place: &str, run: Duration) -> String {
    format!(
        "the broker takes a task back after {limit:?} ({place}), but a run may take {run:?} until it has ended: raise that \
         limit above it, or lower worker.run_deadline"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{json, serve};
    use serde_json::json;

    const WANTED: Duration = Duration::from_mins(30);

    fn limits(kind: &str, argument: Value, policy: Value) -> Limits {
        Limits {
            kind: kind.to_owned(),
            arguments: json!({"x-consumer-timeout": argument}),
            effective_policy_definition: json!({"consumer-timeout": policy}),
        }
    }

    fn known(version: &str, queue: &Limits) -> Option<u128> {
        match effective(version.to_owned(), Some(queue), WANTED) {
            AckTimeout::Known(limit, _) => Some(limit.as_millis()),
            AckTimeout::Never => Some(0),
            AckTimeout::Untold(_) => None,
        }
    }

    #[test]
    fn each_release_has_its_own_place_for_the_limit() {
        let both = limits("quorum", json!(70_000), json!(60_000));
        for (version, limit) in [
            ("3.10.8", None),
            ("3.11.15", None),
            ("3.12.0", Some(60_000)),
            ("4.2.9", Some(60_000)),
            ("4.3.0-beta.1", Some(WANTED.as_millis())),
            ("5.0.0", Some(WANTED.as_millis())),
            ("nonsense", None),
        ] {
            assert_eq!(known(version, &both), limit, "{version}");
        }
        assert_eq!(known("3.13.7", &limits("quorum", json!(70_000), Value::Null)), Some(70_000));
        assert_eq!(known("3.13.7", &limits("quorum", Value::Null, Value::Null)), None);
        assert_eq!(known("4.3.0", &limits("classic", json!(70_000), Value::Null)), Some(0));
        assert_eq!(effective("4.2.9".to_owned(), None, WANTED), AckTimeout::Untold("4.2.9".to_owned()));
    }

    #[tokio::test]
    async fn the_api_is_asked_for_the_version_and_the_queue() {
        for (policy, fits) in [(1_800_000, true), (900_000, false)] {
            let url = serve(move |asked| match asked.path.as_str() {
                "/api/overview" => json(200, json!({"rabbitmq_version": "4.1.4"})),
                "/api/queues/%2F/agent-tasks" => json(
                    200,
                    json!({"type": "quorum", "arguments": {}, "effective_policy_definition": {"consumer-timeout": policy}}),
                ),
                _ => json(404, Value::Null),
            });
            let (url, http) = (Secret::new(url.await.as_str()), crate::testing::http());
            let management = Management::new(&http, &url, "/").unwrap();
            let asked = management.consumer_timeout(WANTED).await;
            let verdict = preflight(Some(asked), WANTED, Duration::from_mins(26));
            assert_eq!(verdict.is_ok(), fits, "{verdict:?}");
            if let Err(error) = verdict {
                let text = error.to_string();
                assert!(text.contains("900s (by the policy key `consumer-timeout`)"), "{text}");
                assert!(text.contains("1560s") && text.contains("worker.run_deadline"), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn a_queue_that_is_not_there_yet_and_an_api_that_refuses_leave_the_limit_unknown() {
        for status in [200, 401] {
            let url = serve(move |asked| match asked.path.as_str() {
                "/api/overview" => json(status, json!({"rabbitmq_version": "3.10.8"})),
                _ => json(404, Value::Null),
            });
            let (url, http) = (Secret::new(url.await.as_str()), crate::testing::http());
            let management = Management::new(&http, &url, "/").unwrap();
            let asked = management.consumer_timeout(WANTED).await;
            let words = preflight(Some(asked), WANTED, Duration::from_mins(26)).unwrap();
            assert!(words[0].contains("not known") && words[0].contains("at least 1800000"), "{words:?}");
            assert!(
                words[0].contains(if status == 200 { "RabbitMQ 3.10.8 does not tell" } else { "401" }),
                "{words:?}"
            );
        }
    }

    #[test]
    fn without_the_api_people_are_told_what_to_set() {
        let words = preflight(None, WANTED, Duration::from_mins(26)).unwrap();
        assert!(words[0].contains("queue.management_url is not set"), "{words:?}");
        assert_eq!(preflight(Some(Ok(AckTimeout::Never)), WANTED, WANTED).unwrap(), [""; 0]);
    }
}
