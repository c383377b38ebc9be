//! From layers to one [`Config`]: embedded defaults, file, usual variables, our variables, flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{File, FileFormat, Source as _, Value, ValueKind};
use url::Url;

use super::alias::{self, Choices};
use super::assemble::{Setting, assemble, one_line};
use super::keys::{self, Kind, Meaning};
use super::problem::shown;
use super::secret_files;
use super::{Config, ConfigError, ModelProvider, Problem, QueueKind};

/// The first layer, and the documentation of all settings.
pub const DEFAULTS: &str = include_str!("../../config.default.toml");

/// The file that is read when none is named.
const USUAL_FILE: &str = "jira-agent.toml";

/// Where settings come from. The default is nowhere: only the embedded defaults count.
#[derive(Debug, Clone, Default)]
pub struct ConfigSources {
    /// The file of `--config`; unset: the variable `JIRA_AGENT_CONFIG`.
    pub file: Option<PathBuf>,
    /// Where `jira-agent.toml` is looked for when no file is named; unset: nowhere.
    pub directory: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What flags say: dotted keys and their texts, written as in a variable.
    pub overrides: Vec<(String, String)>,
}

impl ConfigSources {
    /// The process's environment and working directory, and the file of `--config`.
    #[must_use]
    pub fn from_process(config_flag: Option<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file: config_flag, directory: Some(PathBuf::from(".")), env, overrides: Vec::new() }
    }

    /// The file to read, and whether it was asked for by name.
    fn chosen_file(&self) -> Option<PathBuf> {
        let named = self.env.get("JIRA_AGENT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || self.directory.as_ref().map(|dir| dir.join(USUAL_FILE)).filter(|path| path.exists());
        self.file.clone().or(named).or_else(usual)
    }
}

/// The settings found so far, later ones winning, and what is wrong with them.
#[derive(Debug, Default)]
struct Layers {
    settings: Vec<Setting>,
    problems: Vec<Problem>,
    /// Secrets that were read from files of their own, until [`Layers::settle`].
    files: Vec<Setting>,
    /// Secrets whose files cannot be read.
    unreadable: Vec<Problem>,
}

impl Config {
    /// How long a run may take after its deadline: it lets its lease go, the ticket is told, the events are published and
    /// the task is moved; only then is the delivery settled.
    #[must_use]
    pub fn time_to_end(&self) -> Duration {
        Self::TIME_TO_LET_GO + self.time_to_tell() + Self::TIME_TO_FLUSH + 2 * self.queue.timeout
    }

    /// How long telling a ticket of a failure may take, all requests together.
    #[must_use]
    pub fn time_to_tell(&self) -> Duration {
        self.http.retry_budget + self.http.timeout
    }

    /// How long an interrupted run may take to give its lease back.
    pub const TIME_TO_LET_GO: Duration = Duration::from_secs(2);
    /// How long the end of an attempt may wait for its events to be published.
    pub const TIME_TO_FLUSH: Duration = Duration::from_secs(10);

    /// Reads all layers.
    ///
    /// # Errors
    /// With every problem at once: an unreadable file of settings, unknown keys, values that cannot be read. A secret's
    /// file that cannot be read is a matter of [`Config::check`].
    pub fn load(sources: ConfigSources) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        let mut file = Layers::default();
        if let Some(path) = sources.chosen_file() {
            file.read_file(&path);
        }
        file.settle();
        let mut explicit = Layers::default();
        explicit.read_variables(&sources.env);
        explicit.settle();
        let mut flags = Layers::default();
        flags.read_overrides(&sources.overrides);
        flags.settle();
        explicit.add(flags);
        let aliases = aliases(&sources.env, &file, &explicit);
        for layer in [file, aliases, explicit] {
            layers.add(layer);
        }
        complete_redis(&sources.env, &mut layers);
        let Layers { settings, mut problems, unreadable, .. } = layers;
        let config = assemble(&derived(&settings), &settings, &mut problems);
        match config {
            Some(mut config) if problems.is_empty() => {
                config.origins = settings.into_iter().map(|setting| (setting.key, setting.origin)).collect();
                config.unreadable = unreadable;
                Ok(config)
            }
            _ => {
                problems.sort_by(|a, b| a.field.cmp(&b.field));
                Err(ConfigError { problems })
            }
        }
    }

    /// Whether anything but a default says what this key is.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// Where the value of a key is from, in words.
    pub(super) fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }
}

impl Layers {
    /// Puts a later layer on top. A file that cannot be read does not matter for a key that the later layer sets.
    fn add(&mut self, later: Self) {
        self.unreadable.retain(|problem| later.latest(&problem.field).is_none());
        self.unreadable.extend(later.unreadable);
        self.settings.extend(later.settings);
        self.problems.extend(later.problems);
    }

    /// Takes the secrets from files among the settings. A layer that also has the secret itself contradicts itself.
    fn settle(&mut self) {
        let unreadable = self.unreadable.iter().map(|problem| problem.field.clone());
        let from_files: Vec<String> =
            self.files.iter().map(|setting| setting.key.clone()).chain(unreadable).collect();
        for key in from_files {
            let Some(setting) = self.settings.iter().find(|setting| setting.key == key) else { continue };
            if matches!(&setting.value.kind, ValueKind::String(text) if text.is_empty()) {
                self.settings.retain(|setting| setting.key != key);
                continue;
            }
            let why = format!("`{key}` and `{key}_file` are both set");
            let origin = setting.origin.clone();
            self.problem(&key, &origin, why, "remove one of them".to_owned());
        }
        self.settings.append(&mut self.files);
    }

    fn latest(&self, key: &str) -> Option<&Value> {
        self.settings.iter().rev().find(|setting| setting.key == key).map(|setting| &setting.value)
    }

    fn read_file(&mut self, path: &Path) {
        let origin = format!("file `{}`", path.display());
        let table = std::fs::read_to_string(path)
            .map_err(|error| (format!("it cannot be read: {error}"), "name a readable file, or none"))
            .and_then(|text| parse(&text).map_err(|why| (why, "mend the file")));
        match table {
            Ok(table) => table.into_iter().for_each(|(key, value)| self.read_node(key, value, &origin)),
            Err((why, fix)) => self.problem("configuration", &origin, why, fix.to_owned()),
        }
    }

    /// Walks a file's tables down to the settings.
    fn read_node(&mut self, key: String, value: Value, origin: &str) {
        match (keys::meaning(&key), value.kind) {
            (Some(Meaning::Routes), kind) => self.read_routes(kind, origin),
            (Some(Meaning::SecretFile(secret)), ValueKind::String(path)) => {
                self.read_secret(secret, &path, origin);
            }
            (Some(_), kind) => self.set(&key, Value::new(None, kind), origin),
            (None, ValueKind::Table(table)) => {
                for (name, value) in table {
                    self.read_node(format!("{key}.{name}"), value, origin);
                }
            }
            (None, _) => {
                let nearest = keys::nearest(&key).map(str::to_owned);
                self.unknown(&key, nearest, origin);
            }
        }
    }

    /// Takes the routes without the keys that there are not, which are problems.
    fn read_routes(&mut self, mut kind: ValueKind, origin: &str) {
        if let ValueKind::Array(routes) = &mut kind {
            for (index, route) in routes.iter_mut().enumerate() {
                let ValueKind::Table(table) = &mut route.kind else {
                    continue;
                };
                let known = |name: &String| keys::route_kind(name).is_some();
                for name in table.keys().filter(|name| !known(name)) {
                    let nearest = keys::nearest_in_route(name).map(str::to_owned);
                    self.unknown(&format!("routes[{index}].{name}"), nearest, origin);
                }
                table.retain(|name, _| known(name));
            }
        }
        self.set(keys::ROUTES, Value::new(None, kind), origin);
    }

    fn read_variables(&mut self, env: &BTreeMap<String, String>) {
        for (name, text) in env {
            let Some(key) = keys::key_of_variable(name) else {
                continue;
            };
            let origin = format!("environment variable `{name}`");
            let nearest = |key: &str| keys::nearest(key).map(keys::variable);
            self.read_text(&key, text, &origin, nearest);
        }
    }

    fn read_overrides(&mut self, overrides: &[(String, String)]) {
        for (key, text) in overrides {
            self.read_text(key, text, "flag", |key| keys::nearest(key).map(str::to_owned));
        }
    }

    /// Reads a setting that is written as a text.
    fn read_text(&mut self, key: &str, text: &str, origin: &str, nearest: impl Fn(&str) -> Option<String>) {
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        match keys::meaning(key) {
            Some(Meaning::Value(key, Kind::List)) => {
                let list: Vec<Value> = items().map(Value::from).collect();
                self.set(key, Value::from(list), origin);
            }
            Some(Meaning::Routes) => {
                let list: Vec<Value> = items().map(route_of_text).collect();
                self.set(keys::ROUTES, Value::from(list), origin);
            }
            None => self.unknown(key, nearest(key), origin),
            Some(_) if text.is_empty() => {}
            Some(Meaning::Value(key, _)) => self.set(key, Value::from(text), origin),
            Some(Meaning::SecretFile(key)) => self.read_secret(key, text, origin),
        }
    }

    fn read_secret(&mut self, key: &str, path: &str, origin: &str) {
        match secret_files::read(path) {
            Ok(text) => {
                let (key, origin) = (key.to_owned(), origin.to_owned());
                self.files.push(Setting { key, value: Value::from(text), origin });
            }
            Err(why) => self.unreadable.push(Problem {
                field: key.to_owned(),
                source: origin.to_owned(),
                why,
                fix: "name a readable file".to_owned(),
            }),
        }
    }

    fn set(&mut self, key: &str, value: Value, origin: &str) {
        self.settings.push(Setting { key: key.to_owned(), value, origin: origin.to_owned() });
    }

    fn unknown(&mut self, key: &str, nearest: Option<String>, origin: &str) {
        let fix = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`? config.default.toml lists all settings"),
            None => "remove it; config.default.toml lists all settings".to_owned(),
        };
        self.problem(&shown(key), origin, "there is no such setting".to_owned(), fix);
    }

    fn problem(&mut self, field: &str, origin: &str, why: String, fix: String) {
        self.problems.push(Problem { field: field.to_owned(), source: origin.to_owned(), why, fix });
    }
}

/// A file's text as a tree. The error names the line but does not quote it, for it may hold a secret.
fn parse(text: &str) -> Result<config::Map<String, Value>, String> {
    if let Err(error) = text.parse::<toml::Table>() {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map_or_else(String::new, |line| format!(" in line {line}"));
        return Err(format!("it is not TOML{line}: {}", one_line(error.message())));
    }
    File::from_str(text, FileFormat::Toml).collect().map_err(|_| "it is not TOML".to_owned())
}

/// `PROJECT=address` or an address alone, as a `[[routes]]` entry.
fn route_of_text(text: &str) -> Value {
    let (projects, repo) = match text.split_once('=') {
        Some((project, repo)) if !project.contains(':') => (vec![Value::from(project.trim())], repo.trim()),
        _ => (Vec::new(), text),
    };
    let table = [("projects", Value::from(projects)), ("repo", Value::from(repo))];
    let table: config::Map<String, Value> =
        table.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    Value::new(None, ValueKind::Table(table))
}

/// What the usual variables set, given what the file and our own variables say of reviewer and provider.
fn aliases(env: &BTreeMap<String, String>, file: &Layers, explicit: &Layers) -> Layers {
    let text = |key: &str| {
        let value = explicit.latest(key).or_else(|| file.latest(key))?;
        value.clone().into_string().ok()
    };
    let mut layers = Layers::default();
    let provider = match text("model.provider") {
        Some(word) => ModelProvider::from_word(&word),
        None => match alias::chosen_provider(env) {
            Some((provider, variable)) => {
                let origin = format!("chosen by environment variable `{variable}`");
                layers.set("model.provider", Value::from(provider.word()), &origin);
                Some(provider)
            }
            None => Some(DEFAULT_PROVIDER),
        },
    };
    let queue = match text("queue.kind") {
        Some(word) => QueueKind::from_word(&word),
        None => match alias::chosen_queue(env) {
            Some((kind, variable)) => {
                let origin = format!("chosen by environment variable `{variable}`");
                layers.set("queue.kind", Value::from(kind.word()), &origin);
                Some(kind)
            }
            None => Some(DEFAULT_QUEUE),
        },
    };
    let reviewer = text("jira.reviewer");
    let choices = Choices { queue, provider, reviewer: reviewer.as_deref() };
    let alias::Found { settings, mut problems, unreadable } = alias::settings(env, &choices);
    // A key that our own variable sets is settled: what its aliases say does not matter.
    problems.retain(|problem| explicit.latest(&problem.field).is_none());
    layers.problems = problems;
    layers.unreadable = unreadable;
    for alias in settings {
        let origin = format!("environment variable `{}`", alias.variable);
        layers.set(alias.key, Value::from(alias.text), &origin);
    }
    layers
}

/// Adds to the address of Redis what variables of their own say of it.
fn complete_redis(env: &BTreeMap<String, String>, layers: &mut Layers) {
    let text = |key: &str| layers.latest(key).and_then(|value| value.clone().into_string().ok());
    if text("queue.kind").as_deref() != Some(QueueKind::Redis.word()) {
        return;
    }
    let address = text("queue.url");
    if let Some(whole) = alias::complete_redis(env, address.as_deref(), &mut layers.unreadable) {
        let origin = format!("environment variable `{}`", whole.variable);
        layers.set(whole.key, Value::from(whole.text), &origin);
    }
}

/// The transport in `config.default.toml`; a test holds them together.
const DEFAULT_QUEUE: QueueKind = QueueKind::Rabbitmq;

/// The provider in `config.default.toml`; a test holds them together.
const DEFAULT_PROVIDER: ModelProvider = ModelProvider::Anthropic;

/// Defaults that follow from other settings: the model's name, and where GitHub's API is.
fn derived(settings: &[Setting]) -> Vec<Setting> {
    let latest = |key: &str| settings.iter().rev().find(|setting| setting.key == key);
    let text = |key: &str| latest(key).and_then(|setting| setting.value.clone().into_string().ok());
    let provider = text("model.provider").and_then(|word| ModelProvider::from_word(&word));
    let model = provider.unwrap_or(DEFAULT_PROVIDER).default_model().to_owned();
    let api = text("github.url").and_then(|url| Url::parse(&url).ok());
    let api = api.map_or_else(|| "https://api.github.com".to_owned(), |url| github_api(&url));
    let setting = |key: &str, text: String| Setting {
        key: key.to_owned(),
        value: Value::from(text),
        origin: "default".to_owned(),
    };
    vec![setting("model.name", model), setting("github.api_url", api)]
}

/// Where the REST API of a GitHub is.
/// <https://docs.github.com/en/enterprise-cloud@latest/rest/using-the-rest-api/getting-started-with-the-rest-api>
fn github_api(site: &Url) -> String {
    let host = site.host_str().unwrap_or_default();
    if host == "github.com" || host.ends_with(".ghe.com") {
        return format!("https://api.{host}");
    }
    let authority = site.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    format!("{}://{authority}/api/v3", site.scheme())
}
