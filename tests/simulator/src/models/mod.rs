//! Scripted models behind three real APIs: Anthropic Messages, OpenAI chat completions, Ollama.

mod anthropic;
mod cache;
mod ollama;
mod openai;
mod reply;
mod script;
mod stream;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::reply::{Failure, Reply, StopReason, UsageSeed};
pub use self::script::{ModelScript, Rule};

use self::cache::PromptCache;
use self::script::Choice;
use crate::problems::Problems;
use crate::service::Service;

/// The scripted models. Clones are the same.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    state: Mutex<ModelState>,
    problems: Problems,
}

struct ModelState {
    script: ModelScript,
    calls: Vec<Call>,
    key: String,
    cache: PromptCache,
}

/// One call of a model that was well formed.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Which API it came by.
    pub api: Service,
    /// The model's name as it was asked for.
    pub model: String,
    /// The whole prompt: the system's text and every message, as the model saw it.
    pub prompt: String,
    /// The body as it was sent.
    pub body: Value,
    /// The name of the rule that answered; `None` when none did.
    pub rule: Option<String>,
}

/// What an API has read from a request.
struct Asked {
    api: Service,
    model: String,
    prompt: String,
    body: Value,
    /// The most tokens of the reply that the request allows.
    max_tokens: Option<u64>,
}

impl fmt::Debug for Models {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Models").finish_non_exhaustive()
    }
}

impl Models {
    /// The key of every API unless [`Models::set_key`] says otherwise; Ollama wants none.
    pub const KEY: &str = "sk-ant-api03-SimulatedModelKey-4f6d2b90-NotARealSecret";

    /// The one model in the lists of all three APIs; every other name is answered as well.
    pub const NAME: &str = "simulated";

    /// Models without a script.
    #[must_use]
    pub fn new(problems: Problems) -> Self {
        let (script, calls, key) = (ModelScript::default(), Vec::new(), Self::KEY.to_owned());
        let state = ModelState { script, calls, key, cache: PromptCache::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), problems }))
    }

    /// All routes of the three APIs.
    pub fn router(&self) -> Router {
        let unknown =
            |State(models): State<Self>, request: Request<Body>| async move { models.unknown(&request) };
        Router::new()
            .route("/v1/messages", post(anthropic::messages))
            .route("/v1/chat/completions", post(openai::completions))
            .route("/v1/models", get(list))
            .route("/api/chat", post(ollama::chat))
            .route("/api/tags", get(ollama::tags))
            .route("/api/version", get(ollama::version))
            .fallback(unknown)
            .method_not_allowed_fallback(unknown)
            .with_state(self.clone())
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: Rule) {
        self.lock().script.rules.push(rule);
    }

    /// Replaces all rules.
    pub fn set_script(&self, script: ModelScript) {
        self.lock().script = script;
    }

    /// Lets only this key in.
    pub fn set_key(&self, key: &str) {
        key.clone_into(&mut self.lock().key);
    }

    /// Every well-formed call so far, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The state for `GET /_state`.
    #[must_use]
    pub fn state_json(&self) -> Value {
        let state = self.lock();
        json!({"calls": state.calls, "rules": state.script.rules})
    }

    fn lock(&self) -> MutexGuard<'_, ModelState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, problem: String) {
        self.0.problems.report(problem);
    }

    fn unknown(&self, request: &Request<Body>) -> Response {
        let service = Service::of_path(request.uri().path());
        self.report(format!("{} {}: no such route at {service}", request.method(), request.uri()));
        match service {
            Service::Anthropic => anthropic::error(404, "not_found_error", "Not found"),
            Service::Ollama => ollama::error(404, "404 page not found"),
            _ => openai::error(404, "invalid_request_error", None, "Unknown request URL"),
        }
    }

    fn has_key(&self, key: Option<&str>) -> bool {
        key == Some(&self.lock().key)
    }

    /// Finds the reply. `lenient`: no match is an answer too, as of a model that did not understand.
    fn answer(&self, asked: Asked, lenient: Option<Reply>) -> Result<Reply, String> {
        let mut state = self.lock();
        let choice = state.script.choose(&asked.prompt);
        let (rule, reply) = match choice {
            Choice::Found(name, reply) => (Some(name), Ok(reply)),
            Choice::None(reasons) => {
                let beginning: String = asked.prompt.chars().take(300).collect();
                let problem = format!("no rule answers this prompt ({reasons}). It begins: {beginning}");
                (None, lenient.ok_or(problem))
            }
        };
        let Asked { api, model, prompt, body, max_tokens } = asked;
        state.calls.push(Call { api, model, prompt, body, rule });
        drop(state);
        if let Err(problem) = &reply {
            self.report(format!("{api}: {problem}"));
        }
        reply.map(|reply| reply.limited(max_tokens))
    }
}

/// The tokens of a text, about.
fn tokens(text: &str) -> u64 {
    u64::try_from(text.chars().count().div_ceil(4)).unwrap_or(u64::MAX)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `GET /v1/models` of Anthropic or of OpenAI: the version's header tells which.
async fn list(State(models): State<Models>, headers: HeaderMap) -> Response {
    if headers.contains_key("anthropic-version") {
        anthropic::list(&models, &headers)
    } else {
        openai::list(&models, &headers)
    }
}
