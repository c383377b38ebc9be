//! The names of environment variables that people already use.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::model::ModelProvider;
use super::problem::Problem;
use super::queue::QueueKind;
use super::secret_files;

/// Variables that always mean the same key.
const FIXED: &[(&str, &str)] = &[
    ("JIRA_URL", "jira.url"),
    ("JIRA_BASE_URL", "jira.url"),
    ("JIRA_EMAIL", "jira.email"),
    ("JIRA_TOKEN", "jira.token"),
    ("JIRA_API_TOKEN", "jira.token"),
    ("JIRA_ASSIGNEE_AI_ACCOUNT_ID", "jira.agent_account_id"),
    ("JIRA_REVIEWER_ACCOUNT_ID", "jira.reviewer_account_id"),
    ("GIT_TOKEN", "github.token"),
    ("GITHUB_TOKEN", "github.token"),
    ("GITHUB_API_URL", "github.api_url"),
];

/// Variables that count only when the transport is theirs. `REDIS_HOST` makes an address together with `REDIS_PORT`.
const OF_QUEUE: &[(QueueKind, &str)] = &[
    (QueueKind::Rabbitmq, "AMQP_URL"),
    (QueueKind::Rabbitmq, "RABBITMQ_URL"),
    (QueueKind::Redis, "REDIS_URL"),
    (QueueKind::Redis, "REDIS_HOST"),
];

/// What completes an address of Redis that lacks it.
const OF_REDIS: [&str; 3] = ["REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD"];

/// Variables that count only when the model's provider is theirs.
const OF_PROVIDER: &[(ModelProvider, &str, &str)] = &[
    (ModelProvider::Anthropic, "ANTHROPIC_API_KEY", "model.api_key"),
    (ModelProvider::Anthropic, "ANTHROPIC_BASE_URL", "model.base_url"),
    (ModelProvider::Openai, "OPENAI_API_KEY", "model.api_key"),
    (ModelProvider::Openai, "OPENAI_BASE_URL", "model.base_url"),
    (ModelProvider::Ollama, "OLLAMA_HOST", "model.base_url"),
];

/// The variable of each provider whose presence can choose it.
const CHOOSING: &[(ModelProvider, &str)] = &[
    (ModelProvider::Anthropic, "ANTHROPIC_API_KEY"),
    (ModelProvider::Openai, "OPENAI_API_KEY"),
    (ModelProvider::Ollama, "OLLAMA_HOST"),
];

/// All usual names.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let of_queue = OF_QUEUE.iter().map(|(_, name)| *name).chain(OF_REDIS);
    FIXED.iter().map(|(name, _)| *name).chain(of_queue).chain(OF_PROVIDER.iter().map(|(_, name, _)| *name))
}

/// A setting that a variable makes.
#[derive(Debug)]
pub(super) struct Aliased {
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) variable: String,
}

/// The provider that the variables choose: the one vendor of whom there is one.
pub(super) fn chosen_provider(env: &BTreeMap<String, String>) -> Option<(ModelProvider, &'static str)> {
    let mut there = CHOOSING.iter().filter(|(_, name)| is_present(env, name));
    match (there.next(), there.next()) {
        (Some(only), None) => Some(*only),
        _ => None,
    }
}

/// The transport that the variables choose: that of which alone there is an address.
pub(super) fn chosen_queue(env: &BTreeMap<String, String>) -> Option<(QueueKind, &'static str)> {
    let there: Vec<_> = OF_QUEUE.iter().filter(|(_, name)| is_present(env, name)).copied().collect();
    there.first().copied().filter(|(kind, _)| there.iter().all(|(other, _)| other == kind))
}

fn is_present(env: &BTreeMap<String, String>, name: &str) -> bool {
    [name.to_owned(), format!("{name}_FILE")].iter().any(|name| value(env, name).is_some())
}

/// What decides which variables count.
pub(super) struct Choices<'a> {
    /// The transport; `None` when it is a word that there is not.
    pub(super) queue: Option<QueueKind>,
    /// The model's provider, likewise.
    pub(super) provider: Option<ModelProvider>,
    /// The name in `jira.reviewer`.
    pub(super) reviewer: Option<&'a str>,
}

/// What the usual variables say.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) settings: Vec<Aliased>,
    pub(super) problems: Vec<Problem>,
    /// Secrets whose files cannot be read.
    pub(super) unreadable: Vec<Problem>,
}

/// The settings that variables make for these choices.
pub(super) fn settings(env: &BTreeMap<String, String>, choices: &Choices<'_>) -> Found {
    let &Choices { queue, provider, reviewer } = choices;
    let named = reviewer.map(|name| (reviewer_variable(name), "jira.reviewer_account_id"));
    let of_queue = OF_QUEUE.iter().filter(|(of, _)| Some(*of) == queue);
    let of_provider = OF_PROVIDER.iter().filter(|(of, ..)| Some(*of) == provider);
    let names = FIXED.iter().map(|(name, key)| ((*name).to_owned(), *key));
    let names = names.chain(of_queue.map(|(_, name)| ((*name).to_owned(), "queue.url")));
    let names = names.chain(of_provider.map(|(_, name, key)| ((*name).to_owned(), *key))).chain(named);
    let mut found = Found::default();
    for (name, key) in names {
        for aliased in with_file(env, &name, key, &mut found.unreadable) {
            match found.settings.iter().find(|other| other.key == key) {
                // A whole address says more than a host.
                Some(_) if name == "REDIS_HOST" => {}
                Some(other) if other.text != aliased.text => found.problems.push(conflict(other, &aliased)),
                Some(_) => {}
                None => found.settings.push(aliased),
            }
        }
    }
    found
}

/// The address of Redis with the port, user and password that it lacks and that have variables of their own; `None` when
/// there is nothing to add, or when the variables name another server: its password is not for this one. Without an address
/// they are for a server on this machine.
pub(super) fn complete_redis(
    env: &BTreeMap<String, String>,
    address: Option<&str>,
    unreadable: &mut Vec<Problem>,
) -> Option<Aliased> {
    let parts = OF_REDIS.map(|name| with_file(env, name, "queue.url", unreadable).into_iter().next());
    let [port, user, password] = parts;
    // Where a service is called `redis`, Kubernetes sets REDIS_PORT to an address.
    let port = port.and_then(|part| Some((part.text.trim().parse::<u16>().ok()?, part.variable)));
    let mut url = Url::parse(&redis_url(address.unwrap_or("127.0.0.1"))).ok()?;
    let named = ["REDIS_URL", "REDIS_HOST"].map(|name| with_file(env, name, "queue.url", unreadable));
    if let Some(named) = named.into_iter().flatten().next() {
        let named = Url::parse(&named.text).ok()?;
        // Where it names a port too, that is a part of what it names.
        if named.host() != url.host() || (named.port().is_some() && named.port() != url.port()) {
            return None;
        }
    }
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut variables = Vec::new();
    if let Some((port, variable)) = port.filter(|_| url.port().is_none()) {
        url.set_port(Some(port)).ok()?;
        variables.push(variable);
    }
    if let Some(part) = user.filter(|_| url.username().is_empty()) {
        url.set_username(&escaped(&part.text)).ok()?;
        variables.push(part.variable);
    }
    if let Some(part) = password.filter(|_| url.password().is_none()) {
        url.set_password(Some(&escaped(&part.text))).ok()?;
        variables.push(part.variable);
    }
    if variables.is_empty() {
        return None;
    }
    Some(Aliased { key: "queue.url", text: url.into(), variable: variables.join("`, `") })
}

/// The variable that holds the account id of a reviewer called so.
pub(super) fn reviewer_variable(name: &str) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("JIRA_ASSIGNEE_{word}_ACCOUNT_ID")
}

fn value<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    env.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

fn with_file(
    env: &BTreeMap<String, String>,
    name: &str,
    key: &'static str,
    unreadable: &mut Vec<Problem>,
) -> Vec<Aliased> {
    let as_meant = |text: &str| match name {
        "OLLAMA_HOST" => ollama_url(text),
        "REDIS_URL" | "REDIS_HOST" => redis_url(text),
        _ => text.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(text) = value(env, name) {
        found.push(Aliased { key, text: as_meant(text), variable: name.to_owned() });
    }
    let file_name = format!("{name}_FILE");
    if let Some(path) = value(env, &file_name) {
        match secret_files::read(path) {
            Ok(text) => found.push(Aliased { key, text: as_meant(&text), variable: file_name }),
            Err(why) => unreadable.push(Problem {
                field: key.to_owned(),
                source: format!("environment variable `{file_name}`"),
                why,
                fix: format!("name a readable file, or set {name}"),
            }),
        }
    }
    found
}

fn conflict(one: &Aliased, other: &Aliased) -> Problem {
    Problem {
        field: one.key.to_owned(),
        source: "environment".to_owned(),
        why: format!("`{}` and `{}` are both set and differ", one.variable, other.variable),
        fix: format!("unset one of them, or set {}, which wins", super::keys::variable(one.key)),
    }
}

/// `OLLAMA_HOST` as an address: it may lack the scheme or the port, and it may be what a server listens on.
/// <https://docs.ollama.com/faq>
fn ollama_url(text: &str) -> String {
    let text = text.trim();
    if text.contains("://") {
        return text.replace("://0.0.0.0", "://127.0.0.1");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => {
            (host, port)
        }
        _ => (text, "11434"),
    };
    let host = if matches!(host, "" | "0.0.0.0") { "127.0.0.1" } else { host };
    format!("http://{host}:{port}")
}

/// `REDIS_URL` or `REDIS_HOST` as an address: it may lack the scheme.
fn redis_url(text: &str) -> String {
    let text = text.trim();
    if text.contains("://") { text.to_owned() } else { format!("redis://{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ollama_host_becomes_an_address() {
        let cases = [
            ("gpu-box", "http://gpu-box:11434"),
            ("gpu-box:8000", "http://gpu-box:8000"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            (":11435", "http://127.0.0.1:11435"),
            ("https://ollama.acme.example", "https://ollama.acme.example"),
            ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ];
        for (host, address) in cases {
            assert_eq!(ollama_url(host), address);
        }
    }
}
