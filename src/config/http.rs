use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::duration;
use crate::secret::Secret;

/// Section `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// A proxy for all outgoing requests; unset: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are obeyed.
    #[serde(default)]
    pub proxy: Option<Secret>,
    /// A PEM file of certificate authorities to trust besides the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How long to wait for a connection.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long to wait for the whole answer of one request (not for a model's stream).
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long one request may be retried, waits included; a longer wait goes back to the queue.
    #[serde(with = "duration")]
    pub retry_budget: Duration,
}

impl HttpConfig {
    /// The proxy as an address, when it is one.
    #[must_use]
    pub fn proxy_url(&self) -> Option<Url> {
        self.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok())
    }
}
