//! Ollama's own chat API.
//!
//! <https://docs.ollama.com/api/chat>

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::reply::{Failure, Reply, StopReason};
use super::{Asked, Models, stream, tokens};
use crate::service::Service;

/// The context that a request without `num_ctx` gets.
const DEFAULT_CONTEXT: u64 = 4096;
/// The keys that a request may have.
const KEYS: [&str; 12] = [
    "model",
    "messages",
    "tools",
    "stream",
    "format",
    "options",
    "keep_alive",
    "think",
    "logprobs",
    "top_logprobs",
    "truncate",
    "shift",
];
/// What a model says to a prompt whose lines were cut away.
const LOST: &str = "I do not see the code that you are asking about.";

/// `POST /api/chat`.
pub(super) async fn chat(State(models): State<Models>, body: Bytes) -> Response {
    let body = match read(&body) {
        Ok(body) => body,
        Err(reason) => {
            models.report(format!("Ollama: POST /api/chat: {reason}"));
            return error(400, &reason);
        }
    };
    let options = &body["options"];
    let context = options["num_ctx"].as_u64().unwrap_or(DEFAULT_CONTEXT);
    let (prompt, truncated) = truncate(&prompt(&body), context);
    let (model, prompt_tokens) = (body["model"].as_str().unwrap_or_default().to_owned(), tokens(&prompt));
    let max_tokens = options["num_predict"].as_u64();
    let streamed = body["stream"] != false;
    let asked = Asked { api: Service::Ollama, model: model.clone(), prompt, body, max_tokens };
    let lenient = truncated.then(|| Reply::text(LOST));
    let reply = match models.answer(asked, lenient) {
        Ok(reply) => reply,
        Err(problem) => return error(400, &problem),
    };
    if let Some(Failure::Status { code, retry_after }) = reply.failure {
        let mut response = error(code, "as the script wants it");
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    let chat = Chat { model, prompt_tokens, reply };
    if streamed { chat.streamed() } else { chat.whole() }
}

/// `GET /api/tags`.
pub(super) async fn tags() -> Json<Value> {
    let details =
        json!({"format": "gguf", "family": "simulated", "parameter_size": "1B", "quantization_level": "Q4"});
    let model = json!({
        "name": Models::NAME, "model": Models::NAME, "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "0",
        "details": details,
    });
    Json(json!({"models": [model]}))
}

/// `GET /api/version`.
pub(super) async fn version() -> Json<Value> {
    Json(json!({"version": "0.20.0"}))
}

/// An error in the API's form.
pub(super) fn error(code: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"error": message}))).into_response()
}

fn read(body: &[u8]) -> Result<Value, String> {
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|problem| format!("the body: {problem}"))?;
    // The real one ignores these silently; a client that sends them means something by it.
    if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("'{key}' has no effect here; sampling and num_ctx belong in 'options'"));
    }
    let body = Value::Object(body);
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("model is required".to_owned());
    }
    let options = &body["options"];
    if !options.is_null() && !options.is_object() {
        return Err("'options' must be an object".to_owned());
    }
    if !options["num_ctx"].is_null() && options["num_ctx"].as_u64().is_none() {
        return Err("option \"num_ctx\" must be of type integer".to_owned());
    }
    for message in body["messages"].as_array().ok_or("'messages' must be an array")? {
        let role = message["role"].as_str().unwrap_or_default();
        if !["system", "user", "assistant", "tool"].contains(&role) || !message["content"].is_string() {
            return Err(format!("a message needs a known role and a text as content, not {role:?}"));
        }
    }
    Ok(body)
}

fn prompt(body: &Value) -> String {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n\n")
}

/// The end of the prompt that fits into the context; nobody is told of the rest.
fn truncate(prompt: &str, context: u64) -> (String, bool) {
    let most = usize::try_from(context.saturating_mul(4)).unwrap_or(usize::MAX);
    let length = prompt.chars().count();
    match length.checked_sub(most) {
        None | Some(0) => (prompt.to_owned(), false),
        Some(lost) => (prompt.chars().skip(lost).collect(), true),
    }
}

struct Chat {
    model: String,
    prompt_tokens: u64,
    reply: Reply,
}

impl Chat {
    fn line(&self, text: &str, done: bool) -> Value {
        let message = json!({"role": "assistant", "content": text});
        json!({"model": self.model, "created_at": Timestamp::now().to_string(), "message": message, "done": done})
    }

    fn finish(&self, mut line: Value) -> Value {
        line["done_reason"] =
            json!(if self.reply.stop_reason == StopReason::MaxTokens { "length" } else { "stop" });
        for duration in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
            line[duration] = json!(1_000_000);
        }
        if !self.reply.usage.absent {
            line["prompt_eval_count"] = json!(self.reply.usage.input_tokens.unwrap_or(self.prompt_tokens));
            line["eval_count"] = json!(self.reply.output_tokens());
        }
        line
    }

    fn whole(self) -> Response {
        if let Some(Failure::ErrorEvent { kind, .. }) = &self.reply.failure {
            return error(500, kind);
        }
        let mut line = self.finish(self.line(&self.reply.text, true));
        if let Some(thinking) = &self.reply.thinking {
            line["message"]["thinking"] = json!(thinking);
        }
        stream::respond_whole(
            "application/json; charset=utf-8",
            line.to_string(),
            self.reply.failure.as_ref(),
        )
    }

    fn streamed(self) -> Response {
        let mut events = Vec::new();
        if let Some(thinking) = &self.reply.thinking {
            let mut line = self.line("", false);
            line["message"]["thinking"] = json!(thinking);
            events.push(format!("{line}\n"));
        }
        events.extend(self.reply.pieces().iter().map(|text| format!("{}\n", self.line(text, false))));
        events.push(format!("{}\n", self.finish(self.line("", true))));
        stream::respond("application/x-ndjson", events, self.reply.failure.as_ref(), |kind| {
            format!("{}\n", json!({"error": kind}))
        })
    }
}
