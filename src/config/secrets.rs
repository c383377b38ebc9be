//! All secret values of the settings, for redaction.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use super::Config;
use crate::secret::Secret;

/// RabbitMQ's published password; hiding so common a word would only garble texts.
const PUBLIC_PASSWORD: &str = "guest";

impl Config {
    /// Every secret value that was loaded: tokens, keys, the passwords inside addresses, and the forms that tokens
    /// take in a Basic `Authorization` header.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets =
            vec![self.jira.token.clone(), self.github.token.clone(), self.model.api_key.clone()];
        if !self.jira.token.is_empty() {
            secrets.push(basic(&self.jira.email, &self.jira.token));
        }
        if !self.github.token.is_empty() {
            secrets.push(basic("x-access-token", &self.github.token));
        }
        let proxy = self.http.proxy.iter();
        for address in [&self.queue.url, &self.queue.management_url].into_iter().chain(proxy) {
            secrets.extend(inside_address(address));
        }
        secrets.retain(|secret| !secret.is_empty() && secret.expose() != PUBLIC_PASSWORD);
        secrets
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(BASE64_STANDARD.encode(format!("{user}:{}", password.expose())))
}

/// The password in an address; the whole text when it is no address.
fn inside_address(address: &Secret) -> Vec<Secret> {
    let Ok(url) = Url::parse(address.expose()) else {
        return vec![address.clone()];
    };
    let Some(password) = url.password() else {
        return Vec::new();
    };
    let decoded = percent_encoding::percent_decode_str(password).decode_utf8_lossy();
    vec![Secret::new(password), Secret::new(decoded)]
}
