//! The names of all settings. A test holds them against the structs and against `config.default.toml`.

/// How the text of a setting is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As one value.
    Plain,
    /// In a variable, separated by commas.
    List,
    /// As one of these words.
    Choice(&'static [&'static str]),
    /// As one value that is never shown, and that may be in a file of its own.
    Secret,
}

use Kind::{Choice, List, Plain, Secret};

/// Every key outside `[[routes]]`.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("queue.kind", Choice(&["rabbitmq", "redis", "sqlite"])),
    ("queue.url", Secret),
    ("queue.path", Plain),
    ("queue.retry_delays", List),
    ("queue.lease_timeout", Plain),
    ("queue.management_url", Secret),
    ("queue.ca_file", Plain),
    ("queue.heartbeat", Plain),
    ("queue.timeout", Plain),
    ("queue.consumer_timeout", Plain),
    ("queue.declare", Plain),
    ("queue.adopt", Plain),
    ("jira.url", Plain),
    ("jira.api_url", Plain),
    ("jira.deployment", Choice(&["cloud"])),
    ("jira.email", Plain),
    ("jira.token", Secret),
    ("jira.agent_account_id", Plain),
    ("jira.reviewer_account_id", Plain),
    ("jira.reviewer", Plain),
    ("jira.review_states", List),
    ("jira.trigger_label", Plain),
    ("github.url", Plain),
    ("github.api_url", Plain),
    ("github.token", Secret),
    ("github.reviewers", List),
    ("github.team_reviewers", List),
    ("github.trigger_label", Plain),
    ("model.provider", Choice(&["anthropic", "openai", "ollama"])),
    ("model.name", Plain),
    ("model.base_url", Plain),
    ("model.api_key", Secret),
    ("model.max_output_tokens", Plain),
    ("model.max_input_tokens", Plain),
    ("model.idle_timeout", Plain),
    ("model.timeout", Plain),
    ("model.prices.input", Plain),
    ("model.prices.output", Plain),
    ("model.prices.cache_write", Plain),
    ("model.prices.cache_read", Plain),
    ("worker.listen", Plain),
    ("worker.workspace_root", Plain),
    ("worker.min_free_bytes", Plain),
    ("worker.run_deadline", Plain),
    ("worker.drain_timeout", Plain),
    ("worker.clone_timeout", Plain),
    ("worker.push_timeout", Plain),
    ("worker.max_attempts", Plain),
    ("worker.repair_rounds", Plain),
    ("worker.correction_rounds", Plain),
    ("worker.default_mode", STARTING_MODES),
    ("worker.quickfix_labels", List),
    ("worker.plan_labels", List),
    ("worker.context_files", Plain),
    ("worker.context_lines", Plain),
    ("worker.protected_paths", List),
    ("git.author_name", Plain),
    ("git.author_email", Plain),
    ("git.jira_branch", Plain),
    ("git.github_branch", Plain),
    ("http.proxy", Secret),
    ("http.ca_file", Plain),
    ("http.connect_timeout", Plain),
    ("http.timeout", Plain),
    ("http.retry_budget", Plain),
    ("log.format", Choice(&["auto", "json", "human"])),
    ("log.filter", Plain),
];

/// The whole list of routes, as one setting.
pub(super) const ROUTES: &str = "routes";

/// The keys of one `[[routes]]` entry.
pub(super) const ROUTE_KEYS: &[(&str, Kind)] = &[
    ("repo", Plain),
    ("projects", List),
    ("components", List),
    ("labels", List),
    ("base_branch", Plain),
    ("mode", STARTING_MODES),
];

/// No run starts with another mode.
const STARTING_MODES: Kind = Choice(&["quickfix", "plan"]);

/// What a written key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The value of a setting.
    Value(&'static str, Kind),
    /// The path of the file that holds the secret.
    SecretFile(&'static str),
    /// The list of routes.
    Routes,
}

/// What `key` means, or `None` when there is no such setting.
pub(super) fn meaning(key: &str) -> Option<Meaning> {
    let find = |wanted: &str| KEYS.iter().find(|(name, _)| *name == wanted).copied();
    if key == ROUTES {
        return Some(Meaning::Routes);
    }
    if let Some((name, kind)) = find(key) {
        return Some(Meaning::Value(name, kind));
    }
    match key.strip_suffix("_file").and_then(find) {
        Some((name, Secret)) => Some(Meaning::SecretFile(name)),
        _ => None,
    }
}

/// How a key of a route is read, or `None` when there is no such key.
pub(super) fn route_kind(key: &str) -> Option<Kind> {
    ROUTE_KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

/// The known key that looks most like `key`, if one looks like it at all.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let names = KEYS.iter().map(|(name, _)| *name).chain([ROUTES]);
    most_alike(key, names)
}

/// The known key of a route that looks most like `key`, if one looks like it at all.
pub(super) fn nearest_in_route(key: &str) -> Option<&'static str> {
    most_alike(key, ROUTE_KEYS.iter().map(|(name, _)| *name))
}

fn most_alike(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let scored = names.map(|name| (strsim::jaro_winkler(key, name), name));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("JIRA_AGENT__{}", key.to_uppercase().replace('.', "__"))
}

/// The key of an environment variable, if it is one of ours.
pub(super) fn key_of_variable(name: &str) -> Option<String> {
    name.strip_prefix("JIRA_AGENT__").map(|rest| rest.to_lowercase().replace("__", "."))
}
