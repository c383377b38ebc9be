//! One [`Config`] of all settings; where a value cannot be read, which one and why.

use std::collections::BTreeSet;

use config::builder::DefaultState;
use config::{ConfigBuilder, File, FileFormat, Value, ValueKind};

use super::keys::{self, Kind, Meaning};
use super::problem::shown;
use super::{Config, DEFAULTS, Problem};

/// One key that some layer sets.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: String,
}

/// Puts the settings on the defaults and reads the whole. Of values that cannot be read each is a problem.
pub(super) fn assemble(
    derived: &[Setting],
    settings: &[Setting],
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let whole = match build(derived.iter().chain(settings)) {
        Ok(config) => return Some(config),
        Err(error) => error,
    };
    let before = problems.len();
    for part in parts(settings) {
        let Err(error) = build(derived.iter().chain(&part.settings)) else {
            continue;
        };
        problems.push(unreadable(&part, &error));
    }
    if problems.len() == before {
        problems.push(Problem {
            field: "configuration".to_owned(),
            source: "all sources together".to_owned(),
            why: expectation(&whole),
            fix: DESCRIBED.to_owned(),
        });
    }
    None
}

/// Settings that can be read without the others.
struct Part {
    field: String,
    kind: Kind,
    origin: String,
    /// The value as it is written, where it is one text.
    text: Option<String>,
    settings: Vec<Setting>,
}

/// The settings in parts: a key, the table that it is in (`model.prices`), or a key of a route.
fn parts(settings: &[Setting]) -> Vec<Part> {
    let name = |setting: &Setting| setting.key.split('.').take(2).collect::<Vec<_>>().join(".");
    let names: BTreeSet<String> = settings.iter().map(name).collect();
    let mut parts = Vec::new();
    for field in names {
        let settings: Vec<Setting> =
            settings.iter().filter(|setting| name(setting) == field).cloned().collect();
        let Some(last) = settings.last() else { continue };
        if let (keys::ROUTES, ValueKind::Array(routes)) = (last.key.as_str(), &last.value.kind) {
            let of_one =
                routes.iter().enumerate().map(|(index, route)| parts_of_route(index, route, &last.origin));
            parts.extend(of_one.flatten());
            continue;
        }
        let kind = match keys::meaning(&last.key) {
            Some(Meaning::Value(_, kind)) => kind,
            _ => Kind::Plain,
        };
        let (origin, text) = (last.origin.clone(), last.value.clone().into_string().ok());
        parts.push(Part { field, kind, origin, text, settings });
    }
    parts
}

/// Each key of a route by itself, beside a repository that is fine; and the whole where the repository is missing.
fn parts_of_route(index: usize, route: &Value, origin: &str) -> Vec<Part> {
    let part = |field: String, kind: Kind, value: &Value, route: Value| Part {
        field,
        kind,
        origin: origin.to_owned(),
        text: value.clone().into_string().ok(),
        settings: vec![Setting {
            key: keys::ROUTES.to_owned(),
            value: Value::from(vec![route]),
            origin: origin.to_owned(),
        }],
    };
    let mut parts = Vec::new();
    let whole = format!("routes[{index}]");
    let ValueKind::Table(table) = &route.kind else {
        return vec![part(whole, Kind::Plain, route, route.clone())];
    };
    for (key, value) in table {
        let beside = ("repo".to_owned(), Value::from("https://host/owner/name"));
        let alone: config::Map<String, Value> = [beside, (key.clone(), value.clone())].into_iter().collect();
        let kind = keys::route_kind(key).unwrap_or(Kind::Plain);
        parts.push(part(format!("{whole}.{key}"), kind, value, Value::new(None, ValueKind::Table(alone))));
    }
    if !table.contains_key("repo") {
        parts.push(part(whole, Kind::Plain, route, route.clone()));
    }
    parts
}

const DESCRIBED: &str = "config.default.toml describes it";

fn build<'a>(settings: impl Iterator<Item = &'a Setting>) -> Result<Config, config::ConfigError> {
    let mut builder: ConfigBuilder<DefaultState> =
        config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    for setting in settings {
        builder = builder.set_override(&setting.key, setting.value.clone())?;
    }
    builder.build()?.try_deserialize()
}

fn unreadable(part: &Part, error: &config::ConfigError) -> Problem {
    let value = part.text.as_deref().map(shown);
    let expected = expectation(error);
    let why = match (part.kind, value) {
        (Kind::Secret, _) => "the secret is not a text".to_owned(),
        (Kind::Choice(words), Some(value)) => format!("`{value}` is not one of {}", words.join(", ")),
        (_, Some(value)) if !expected.contains(&value) => format!("`{value}` does not do: {expected}"),
        _ => expected,
    };
    let (field, source) = (part.field.clone(), part.origin.clone());
    Problem { field, source, why, fix: DESCRIBED.to_owned() }
}

/// What was expected; the place is said elsewhere.
fn expectation(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => expectation(error),
        config::ConfigError::NotFound(key) => {
            let name = key.strip_prefix("routes[0]").unwrap_or(key).trim_start_matches('.');
            format!("`{name}` is missing")
        }
        config::ConfigError::Type { unexpected, expected, .. } => {
            shown(&format!("expected {expected}, not {unexpected}"))
        }
        other => one_line(&other.to_string()),
    }
}

/// A message on one line, as it may be shown.
pub(super) fn one_line(text: &str) -> String {
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
