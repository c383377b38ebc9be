//! What the three services have in common on the wire: one POST, and an answer that streams.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures_util::{Stream, StreamExt as _, stream};
use jira_agent::config::ModelConfig;
use jira_agent::http::{self, Http};
use jira_agent::secret::Secret;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::refusal::{Case, Complaint, Failure};
use super::{ModelError, Request};

/// A reply above this size in bytes is given up.
const REPLY_LIMIT: usize = 32 * 1024 * 1024;
/// This much of a refusal's body is read, in bytes.
const REFUSAL_LIMIT: usize = 16 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    http: Http,
    url: Url,
    host: String,
    model: String,
    headers: HeaderMap,
    key: Secret,
    idle_timeout: Duration,
    first_byte_timeout: Duration,
}

impl Endpoint {
    pub fn new(config: &ModelConfig, http: Http, url: Url) -> Self {
        Self {
            http,
            host: http::host(&url),
            url,
            model: config.name.clone(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            key: config.api_key.clone(),
            idle_timeout: config.idle_timeout,
            first_byte_timeout: config.idle_timeout,
        }
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends the key, if there is one, after `prefix`.
    pub fn with_key(mut self, name: HeaderName, prefix: &str) -> anyhow::Result<Self> {
        if !self.key.is_empty() {
            let mut value = HeaderValue::try_from(format!("{prefix}{}", self.key.expose()))
                .context("model.api_key holds a line break or another letter that no key has")?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    /// Waits longer for the first byte than between two.
    pub fn with_first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte_timeout = timeout;
        self
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    /// Sends the body; the answer's head has come and is good.
    pub async fn post(&self, request: &Request, body: &Value) -> Result<Response, Failure> {
        let sending = self
            .http
            .client()
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(body.to_string())
            .send();
        let response = tokio::time::timeout(self.first_byte_timeout, sending)
            .await
            .map_err(|_| self.stalled(self.first_byte_timeout))?
            .map_err(|error| ModelError::Unreachable {
                host: self.host.clone(),
                source: error.without_url(),
            })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        tracing::debug!(
            host = self.host,
            status = status.as_u16(),
            request_id = ?headers.get("request-id").or_else(|| headers.get("x-request-id")),
            "the model's service refused"
        );
        let body = self.refusal_body(response).await;
        Err(self.judge(request, status.as_u16(), &headers, &Complaint::of_body(&body)))
    }

    /// What a refusal means, be it an answer from 400 or an error within a stream.
    pub fn judge(
        &self,
        request: &Request,
        status: u16,
        headers: &HeaderMap,
        complaint: &Complaint,
    ) -> Failure {
        let case = Case { host: &self.host, model: &self.model, key: self.key.expose(), request };
        case.judge(status, headers, complaint)
    }

    async fn refusal_body(&self, response: Response) -> String {
        let mut body = Vec::new();
        let mut chunks = std::pin::pin!(self.chunks(response));
        // A body that breaks off says as much as it says; the status is known.
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > REFUSAL_LIMIT {
                body.truncate(REFUSAL_LIMIT);
                break;
            }
        }
        String::from_utf8_lossy(&body).into_owned()
    }

    /// The answer's bytes as they come, none later than the idle time-out after the one before.
    pub fn chunks(&self, response: Response) -> impl Stream<Item = Result<Bytes, Failure>> + Send {
        stream::try_unfold((response, 0), move |(mut response, size)| async move {
            let next = tokio::time::timeout(self.idle_timeout, response.chunk()).await;
            let chunk = next
                .map_err(|_| self.stalled(self.idle_timeout))?
                .map_err(|_| self.interrupted("the connection broke"))?;
            let Some(chunk) = chunk else { return Ok(None) };
            let size = size + chunk.len();
            if size > REPLY_LIMIT {
                return Err(self.interrupted(format!("it is larger than {REPLY_LIMIT} bytes")));
            }
            Ok(Some((chunk, (response, size))))
        })
    }

    /// The data of the answer's server-sent events.
    pub fn events(&self, response: Response) -> impl Stream<Item = Result<String, Failure>> + Send {
        self.chunks(response).eventsource().map(|event| match event {
            Ok(event) => Ok(event.data),
            Err(EventStreamError::Transport(failure)) => Err(failure),
            Err(EventStreamError::Utf8(_) | EventStreamError::Parser(_)) => {
                Err(self.interrupted("it is not a stream of events"))
            }
        })
    }

    pub fn interrupted(&self, why: impl Into<String>) -> Failure {
        let error = ModelError::Interrupted { host: self.host.clone(), why: why.into() };
        error.into()
    }

    fn stalled(&self, after: Duration) -> Failure {
        let error = ModelError::Stalled { host: self.host.clone(), after };
        error.into()
    }
}

/// `path` below a base address. `version`, e.g. `v1`, is put between where the base does not end with it and
/// `always` says so or the base has no path of its own.
pub(super) fn address(base: &Url, version: &str, always: bool, path: &str) -> Url {
    let mut url = base.clone();
    let root = base.path().trim_end_matches('/');
    let versioned = root.rsplit('/').next() == Some(version);
    let path = if versioned || !(always || root.is_empty()) {
        format!("{root}/{path}")
    } else {
        format!("{root}/{version}/{path}")
    };
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_may_hold_the_version_or_not() {
        let at = |base: &str, always| address(&base.parse().unwrap(), "v1", always, "messages").to_string();
        assert_eq!(at("https://a.example", true), "https://a.example/v1/messages");
        assert_eq!(at("https://a.example/v1/", true), "https://a.example/v1/messages");
        assert_eq!(at("https://a.example/claude", true), "https://a.example/claude/v1/messages");
        assert_eq!(at("https://a.example", false), "https://a.example/v1/messages");
        assert_eq!(at("https://a.example/openai", false), "https://a.example/openai/messages");
        assert_eq!(
            at("https://a.example/openai?api-version=3", false),
            "https://a.example/openai/messages?api-version=3"
        );
    }
}
