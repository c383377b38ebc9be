use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Request, StatusCode};
use serde_json::Value;

use super::Finding;
use crate::config::{Config, ModelConfig, ModelProvider, Needs, Problem};
use crate::domain::RepoSlug;
use crate::github::{GitHub, GitHubError};
use crate::http::{Http, HttpError, Safety};
use crate::jira::{Jira, JiraError};

/// A clock that is off by more than this makes old news look new.
const SKEW_LIMIT: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn settings(config: &Config) -> Vec<Finding> {
    match config.check(Needs::Worker) {
        Ok(()) => vec![Finding::fine("settings", "complete for a worker")],
        Err(error) => {
            let broken = |Problem { field, source, why, fix }: &Problem| {
                Finding::broken("settings", format!("{field} ({source}): {why}"), fix)
            };
            error.problems.iter().map(broken).collect()
        }
    }
}

pub(super) async fn jira(config: &Config, http: &Http) -> Vec<Finding> {
    const AREA: &str = "jira";
    let unset = |text| vec![Finding::warning(AREA, text, "set jira.url, jira.email and jira.token")];
    if config.jira.url.is_none() {
        return unset("not configured: only GitHub issues can be worked on");
    }
    if config.jira.token.is_empty() {
        return unset("not asked: jira.token is not set");
    }
    let jira = match Jira::new(&config.jira, http.clone()) {
        Ok(jira) => jira,
        Err(error) => return vec![Finding::broken(AREA, format!("{error:#}"), "correct section [jira]")],
    };
    let user = match jira.myself().await {
        Ok(user) => user,
        Err(error) => {
            let fix = match &error {
                JiraError::Unauthorized { .. } => {
                    "make a new API token for the account of jira.email, and set it as jira.token (JIRA_TOKEN)"
                        .to_owned()
                }
                JiraError::Http(error) => way_to(error, "jira.url"),
                _ => "check jira.url (JIRA_URL); a scoped token needs jira.api_url".to_owned(),
            };
            return vec![Finding::broken(AREA, because(&error), fix)];
        }
    };
    let mut findings = vec![Finding::fine(AREA, format!("signed in as {}", user.name))];
    if let Ok(time) = jira.server_time().await {
        findings.push(clock(AREA, time, Timestamp::now()));
    }
    findings
}

pub(super) async fn github(config: &Config, http: &Http) -> Vec<Finding> {
    const AREA: &str = "github";
    if config.github.token.is_empty() {
        let fix = "set github.token (GITHUB_TOKEN)";
        return vec![Finding::warning(AREA, "not asked: github.token is not set", fix)];
    }
    let github = GitHub::new(&config.github, http.clone());
    let mut findings = match github.user().await {
        Ok(login) => vec![Finding::fine(AREA, format!("signed in as {login}"))],
        Err(error) => {
            let fix = match &error {
                GitHubError::Unauthorized { .. } => {
                    "make a new token and set it as github.token (GITHUB_TOKEN)".to_owned()
                }
                GitHubError::Http(error) => way_to(error, "github.api_url"),
                _ => "check github.api_url (GITHUB_API_URL)".to_owned(),
            };
            return vec![Finding::broken(AREA, because(&error), fix)];
        }
    };
    if let Ok(time) = github.server_time().await {
        findings.push(clock(AREA, time, Timestamp::now()));
    }
    let mut slugs: Vec<&RepoSlug> = config.routes.iter().map(|route| route.repo.slug()).collect();
    slugs.sort();
    slugs.dedup();
    findings.extend(join_all(slugs.into_iter().map(|slug| repository(&github, slug))).await);
    findings
}

async fn repository(github: &GitHub, slug: &RepoSlug) -> Finding {
    const AREA: &str = "github";
    match github.repository(slug).await {
        Ok(repository) if repository.archived => {
            Finding::broken(AREA, format!("{slug} is archived"), "take its [[routes]] entry out")
        }
        Ok(repository) if repository.may_push == Some(false) => Finding::broken(
            AREA,
            format!("github.token may not push to {slug}"),
            "give the token contents, issues and pull requests: write, and its account write access",
        ),
        Ok(_) => Finding::fine(AREA, format!("{slug} can be pushed to")),
        Err(error) => {
            let fix = match &error {
                GitHubError::NotFound { .. } => {
                    "correct its [[routes]] entry, or let the token see the repository".to_owned()
                }
                GitHubError::Http(error) => way_to(error, "github.api_url"),
                _ => "check what github.token may do".to_owned(),
            };
            Finding::broken(AREA, because(&error), fix)
        }
    }
}

/// Asks for the list of models: it costs nothing and needs the key.
pub(super) async fn model(config: &Config, http: &Http) -> Vec<Finding> {
    const AREA: &str = "model";
    let model = &config.model;
    if model.api_key.is_empty() && model.provider != ModelProvider::Ollama {
        return vec![Finding::warning(AREA, "not asked: model.api_key is not set", "set model.api_key")];
    }
    let request = match list_of_models(model, http) {
        Ok(request) => request,
        Err(error) => {
            let text = because(&error.without_url());
            return vec![Finding::broken(AREA, text, "correct model.base_url or model.api_key")];
        }
    };
    let name = &model.name;
    vec![match http.send(request, Safety::Idempotent).await {
        Ok(answer) if offers(&answer.body, name) => {
            Finding::fine(AREA, format!("the service answers and offers {name}"))
        }
        Ok(_) if model.provider == ModelProvider::Ollama => Finding::broken(
            AREA,
            format!("Ollama answers, but does not have {name}"),
            format!("ollama pull {name}, or correct model.name"),
        ),
        Ok(_) => Finding::warning(
            AREA,
            format!("the service answers, but its list does not name {name}"),
            "check model.name; an alias may work all the same",
        ),
        Err(error) => {
            let fix = match error.status() {
                Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                    "set a valid key as model.api_key (ANTHROPIC_API_KEY or OPENAI_API_KEY)".to_owned()
                }
                _ => way_to(&error, "model.base_url"),
            };
            Finding::broken(AREA, because(&error), fix)
        }
    }]
}

fn list_of_models(model: &ModelConfig, http: &Http) -> reqwest::Result<Request> {
    let base = model.base_url.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
    let at = |default: &str, path: &str| format!("{}{path}", base.as_deref().unwrap_or(default));
    let client = http.client();
    let request = match model.provider {
        // https://docs.claude.com/en/api/models-list
        ModelProvider::Anthropic => client
            .get(at("https://api.anthropic.com", "/v1/models?limit=1000"))
            .header("x-api-key", model.api_key.expose())
            .header("anthropic-version", "2023-06-01"),
        // https://platform.openai.com/docs/api-reference/models/list
        ModelProvider::Openai => {
            client.get(at("https://api.openai.com/v1", "/models")).bearer_auth(model.api_key.expose())
        }
        // https://docs.ollama.com/api/tags
        ModelProvider::Ollama => client.get(at("http://127.0.0.1:11434", "/api/tags")),
    };
    request.build()
}

/// Whether a list of models names this one. Ollama adds `:latest` to names without a tag.
fn offers(body: &[u8], name: &str) -> bool {
    let list: Value = serde_json::from_slice(body).unwrap_or_default();
    let names = |field: &str, key: &str| {
        let entries = list[field].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry[key].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let latest = format!("{name}:latest");
    names("data", "id").iter().chain(&names("models", "name")).any(|is| is == name || *is == latest)
}

fn clock(area: &'static str, server: Timestamp, here: Timestamp) -> Finding {
    let skew = here.duration_since(server);
    if skew.abs() <= SKEW_LIMIT {
        return Finding::fine(area, "the clocks agree");
    }
    let seconds = skew.abs().as_secs();
    let side = if skew.is_negative() { "behind" } else { "ahead of" };
    Finding::broken(
        area,
        format!("this machine's clock is {seconds} s {side} the service's"),
        "set the clock (NTP): which input is newer is decided by time",
    )
}

/// What mends that no good answer came from the address in the setting `key`.
pub(super) fn way_to(error: &HttpError, key: &str) -> String {
    match error {
        HttpError::Unreachable { .. } | HttpError::Ambiguous { .. } => {
            format!("check {key}, the way there (http.proxy, http.ca_file), and that the service is up")
        }
        HttpError::RateLimited { .. } => "wait as long as it asks, then look again".to_owned(),
        HttpError::Status { status, .. } if status.is_server_error() => {
            format!("the service has trouble of its own: look again later, or check {key}")
        }
        HttpError::Status { .. } | HttpError::Unexpected { .. } => format!("check {key}"),
    }
}

/// An error with all its causes, in a line.
fn because(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (server, here, level, words) in [
            (1000, 1030, Level::Fine, "agree"),
            (1000, 970, Level::Fine, "agree"),
            (1000, 1031, Level::Broken, "31 s ahead of"),
            (1000, 400, Level::Broken, "600 s behind"),
        ] {
            let finding = clock("jira", at(server), at(here));
            assert_eq!(finding.level, level, "{server} {here}");
            assert!(finding.text.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_model_is_found_in_the_lists_of_all_three_services_by_its_whole_name() {
        let named = |body: &str, name| offers(body.as_bytes(), name);
        assert!(named(r#"{"data": [{"id": "gpt-5.5"}]}"#, "gpt-5.5"));
        assert!(!named(r#"{"data": [{"id": "gpt-5.5-mini"}]}"#, "gpt-5.5"));
        assert!(named(r#"{"models": [{"name": "qwen3-coder:latest"}]}"#, "qwen3-coder"));
        assert!(!named("<html>", "gpt-5.5"));
    }
}
