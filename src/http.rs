//! One client for all outgoing HTTP: proxy, certificate authorities, time-outs, retries, rate limits.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Request, StatusCode};
use tokio_util::sync::CancellationToken;

use crate::config::HttpConfig;
use crate::retry::{RetryPolicy, Verdict, retry};
use crate::tls;

/// Answers above this size in bytes are refused.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// What may happen when a request is sent twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// Nothing more than when it is sent once: it is repeated after any passing failure.
    Idempotent,
    /// It may be done twice: it is repeated only when the first was surely not done. Else the caller gets
    /// [`HttpError::Ambiguous`] and must read before it writes again.
    NotIdempotent,
}

/// An answer with a status below 400.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or a read that got no (whole) answer.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time, or one that leaves open whether a write was done.
    #[error("{host} gave no clear answer ({why})")]
    Ambiguous {
        /// Host and port.
        host: String,
        /// The status or the failure in a word.
        why: String,
    },
    /// The service asks for a longer wait than a request may take.
    #[error("{host} asks to wait {} s", retry_after.as_secs())]
    RateLimited {
        /// Host and port.
        host: String,
        /// How long.
        retry_after: Duration,
    },
    /// An answer with a status from 400.
    #[error("{host} answered {status}{}", excerpt(body))]
    Status {
        /// Host and port.
        host: String,
        /// The status.
        status: StatusCode,
        /// The first 4 KiB of the body.
        body: String,
    },
    /// The answer is not what the API promises.
    #[error("{host} answered something unexpected: {why}")]
    Unexpected {
        /// Host and port.
        host: String,
        /// What.
        why: String,
    },
}

impl HttpError {
    /// The status of the answer, when there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Ambiguous { .. } | Self::RateLimited { .. } => true,
            Self::Status { status, .. } => is_passing(*status),
            Self::Unexpected { .. } => false,
        }
    }
}

fn excerpt(body: &str) -> String {
    let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// Reads a rate limit out of an answer from 400: how long to wait, when it is one.
pub type ReadLimit = fn(StatusCode, &HeaderMap, &str) -> Option<Duration>;

/// The client. Clones share connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    timeout: Duration,
    policy: RetryPolicy,
    cancel: CancellationToken,
    read_limit: ReadLimit,
}

impl Http {
    /// A client by the settings; `cancel` ends its waits.
    ///
    /// # Errors
    /// When the certificate file or the proxy cannot be used.
    pub fn new(config: &HttpConfig, cancel: CancellationToken) -> anyhow::Result<Self> {
        tls::install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("jira-agent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path)
                .with_context(|| format!("cannot read http.ca_file {}", path.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("http.ca_file {} is not PEM", path.display()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(proxy) = &config.proxy {
            let proxy = reqwest::Proxy::all(proxy.expose()).context("http.proxy is not an address")?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().context("cannot set up the HTTP client")?;
        let policy = RetryPolicy {
            first: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            budget: config.retry_budget,
        };
        Ok(Self { client, timeout: config.timeout, policy, cancel, read_limit: standard_limit })
    }

    /// The same client for a service that announces its limits in a way of its own.
    #[must_use]
    pub fn with_limits(mut self, read_limit: ReadLimit) -> Self {
        self.read_limit = read_limit;
        self
    }

    /// The plain client, for streams. It follows no redirects and has no time-out for the whole answer.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Cancelled when the program shuts down.
    #[must_use]
    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// How requests are retried.
    #[must_use]
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Sends a request whose body is in memory and reads the whole answer, retrying as far as `safety` allows.
    ///
    /// # Errors
    /// See [`HttpError`]. An answer from 400 is an error, a redirect is not.
    pub async fn send(&self, request: Request, safety: Safety) -> Result<Response, HttpError> {
        let result = retry(
            &self.policy,
            &self.cancel,
            || {
                let copy = request.try_clone();
                async {
                    let copy =
                        copy.ok_or_else(|| Failure::plain(unexpected(&request, "a body that streams")))?;
                    self.attempt(copy, safety).await
                }
            },
            |failure: &Failure| failure.verdict,
        )
        .await;
        result.map_err(|failure| failure.error)
    }

    async fn attempt(&self, request: Request, safety: Safety) -> Result<Response, Failure> {
        let (method, url) = (request.method().clone(), request.url().clone());
        let host = host(&url);
        let started = std::time::Instant::now();
        // Cancelling between sending a write and reading its answer would make it ambiguous, so it is not done.
        let answer = tokio::time::timeout(self.timeout, self.exchange(request, &host)).await;
        let duration_ms = started.elapsed().as_millis();
        let (status, headers, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(Exchange::Failed(source))) => {
                tracing::debug!(%method, host, path = url.path(), duration_ms, "the request failed");
                return Err(transport_failure(host, source, safety));
            }
            Ok(Err(Exchange::TooLarge)) => {
                let why = format!("more than {BODY_LIMIT} bytes");
                return Err(Failure::plain(HttpError::Unexpected { host, why }));
            }
            Err(_) => {
                tracing::debug!(%method, host, path = url.path(), duration_ms, "the request timed out");
                let verdict = if safety == Safety::Idempotent { Verdict::Again } else { Verdict::Stop };
                let why = format!("no answer within {} s", self.timeout.as_secs());
                return Err(Failure { error: HttpError::Ambiguous { host, why }, verdict });
            }
        };
        tracing::debug!(%method, host, path = url.path(), status = status.as_u16(), duration_ms, "request");
        if status.as_u16() < 400 {
            return Ok(Response { status, headers, body });
        }
        let text: String = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
        let limit = (self.read_limit)(status, &headers, &text);
        Err(self.judge(host, status, text, limit, safety))
    }

    async fn exchange(
        &self,
        request: Request,
        host: &str,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Exchange> {
        let response = self.client.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > BODY_LIMIT {
                tracing::warn!(host, "an answer was larger than {BODY_LIMIT} bytes and was dropped");
                return Err(Exchange::TooLarge);
            }
        }
        Ok((status, headers, body.into()))
    }

    /// What an answer from 400 means for the next try.
    fn judge(
        &self,
        host: String,
        status: StatusCode,
        body: String,
        limit: Option<Duration>,
        safety: Safety,
    ) -> Failure {
        // A request that was limited by a 4xx was refused, so even a write can be sent again; behind a 5xx it may be done.
        let refused = safety == Safety::Idempotent || status.is_client_error();
        if let Some(retry_after) = limit.filter(|_| refused) {
            let verdict = Verdict::AgainAfter(retry_after);
            return Failure { error: HttpError::RateLimited { host, retry_after }, verdict };
        }
        match safety {
            Safety::Idempotent if is_passing(status) => {
                Failure { error: HttpError::Status { host, status, body }, verdict: Verdict::Again }
            }
            Safety::NotIdempotent if status.is_server_error() => {
                Failure::plain(HttpError::Ambiguous { host, why: status.to_string() })
            }
            _ => Failure::plain(HttpError::Status { host, status, body }),
        }
    }
}

enum Exchange {
    Failed(reqwest::Error),
    TooLarge,
}

impl From<reqwest::Error> for Exchange {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error.without_url())
    }
}

/// An error together with what it means for the next try.
struct Failure {
    error: HttpError,
    verdict: Verdict,
}

impl Failure {
    fn plain(error: HttpError) -> Self {
        Self { error, verdict: Verdict::Stop }
    }
}

fn transport_failure(host: String, source: reqwest::Error, safety: Safety) -> Failure {
    // Without a connection nothing was sent.
    if source.is_connect() || safety == Safety::Idempotent {
        let verdict = if source.is_builder() { Verdict::Stop } else { Verdict::Again };
        return Failure { error: HttpError::Unreachable { host, source }, verdict };
    }
    Failure::plain(HttpError::Ambiguous { host, why: "the connection broke".to_owned() })
}

fn unexpected(request: &Request, why: &str) -> HttpError {
    HttpError::Unexpected { host: host(request.url()), why: why.to_owned() }
}

/// Host and port of an address, for messages.
#[must_use]
pub fn host(url: &url::Url) -> String {
    let name = url.host_str().unwrap_or("an address without host");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Statuses that often pass by themselves.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504 | 529)
}

/// Rate limits as most services announce them: 429, or 503 with `Retry-After`. The wait is from `Retry-After`
/// (seconds or a date), else from `x-ratelimit-reset`, else 10 s.
#[must_use]
pub fn standard_limit(status: StatusCode, headers: &HeaderMap, _body: &str) -> Option<Duration> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Some(announced_wait(headers, Timestamp::now()).unwrap_or(Duration::from_secs(10)))
        }
        StatusCode::SERVICE_UNAVAILABLE => retry_after(headers, Timestamp::now()),
        _ => None,
    }
}

/// The wait that an answer announces, at most a day: `retry-after-ms`, `Retry-After`, or `x-ratelimit-reset` as
/// epoch seconds (GitHub) or as a date in ISO 8601 (Jira).
#[must_use]
pub fn announced_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis = text(headers, "retry-after-ms").and_then(|value| value.parse::<f64>().ok());
    let millis = millis.filter(|value| value.is_finite() && *value >= 0.0);
    millis
        .map(|value| bounded(value / 1000.0))
        .or_else(|| retry_after(headers, now))
        .or_else(|| reset(text(headers, "x-ratelimit-reset")?, now))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| bounded(seconds));
    }
    let date = httpdate::parse_http_date(value).ok().and_then(|date| Timestamp::try_from(date).ok())?;
    Some(until(date, now))
}

fn reset(value: &str, now: Timestamp) -> Option<Duration> {
    let moment = match value.parse::<i64>() {
        Ok(seconds) => Timestamp::from_second(seconds).ok()?,
        // Jira writes minutes only: 2026-03-02T10:15Z.
        Err(_) => value
            .parse()
            .or_else(|_| Timestamp::strptime("%Y-%m-%dT%H:%M%#z", value.replace('Z', "+00:00")))
            .ok()?,
    };
    Some(until(moment, now))
}

fn until(moment: Timestamp, now: Timestamp) -> Duration {
    bounded(moment.duration_since(now).as_secs_f64().max(0.0))
}

fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(86_400.0))
}

fn text<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Whether requests with this method may be repeated by their definition (RFC 9110 §9.2.2).
#[must_use]
pub fn safety_of(method: &Method) -> Safety {
    if method.is_idempotent() { Safety::Idempotent } else { Safety::NotIdempotent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn wait(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let now: Timestamp = "2026-03-02T10:00:00Z".parse().unwrap();
        announced_wait(&headers(pairs), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn every_documented_announcement_of_a_wait_is_read() {
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        assert_eq!(wait(&[("retry-after-ms", "2500")]), Some(2));
        assert_eq!(wait(&[("retry-after", "Mon, 02 Mar 2026 10:01:00 GMT")]), Some(60));
        assert_eq!(wait(&[("x-ratelimit-reset", "1772445630")]), Some(30));
        assert_eq!(wait(&[("x-ratelimit-reset", "2026-03-02T10:15Z")]), Some(900));
        assert_eq!(wait(&[("x-ratelimit-reset", "2026-03-02T10:15:30Z")]), Some(930));
        assert_eq!(wait(&[("retry-after", "-3")]), None);
        assert_eq!(wait(&[("retry-after", "1e300")]), Some(86_400));
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_503_is_a_limit_only_when_it_says_when_to_come_back() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(standard_limit(status, &headers(&[]), ""), None);
        let limit = standard_limit(status, &headers(&[("retry-after", "3")]), "");
        assert_eq!(limit, Some(Duration::from_secs(3)));
    }
}
