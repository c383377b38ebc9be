//! Anthropic Messages.
//!
//! <https://platform.claude.com/docs/en/api/messages>

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::cache::{CacheUse, breakpoints};
use super::reply::{Failure, Reply, StopReason};
use super::{Asked, Models, bearer, header, stream};
use crate::service::Service;

/// The version on which sampling parameters are refused.
const NEWEST: &str = "2026-10-21";
/// The versions that are answered.
const VERSIONS: [&str; 2] = ["2023-06-01", NEWEST];
/// The keys that a request may have.
const KEYS: [&str; 22] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "stop_sequences",
    "stream",
    "thinking",
    "output_config",
    "cache_control",
    "metadata",
    "service_tier",
    "speed",
    "inference_geo",
    "diagnostics",
    "container",
    "context_management",
    "mcp_servers",
    "temperature",
    "top_p",
    "top_k",
];
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];
/// The types of content blocks that a message may have.
const BLOCKS: [&str; 8] = [
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
];

/// `POST /v1/messages`.
pub(super) async fn messages(State(models): State<Models>, headers: HeaderMap, body: Bytes) -> Response {
    if !authorised(&models, &headers) {
        return error(401, "authentication_error", "invalid x-api-key");
    }
    let body = match read(&headers, &body) {
        Ok(body) => body,
        Err(reason) => {
            models.report(format!("Anthropic: POST /v1/messages: {reason}"));
            return error(400, "invalid_request_error", &reason);
        }
    };
    let prompt = prompt(&body);
    if ends_in_prefill(&body) && !was_paused(&models) {
        let reason = "This model does not support assistant message prefill. The conversation must end with a user message.";
        models.report(format!("Anthropic: POST /v1/messages: {reason}"));
        return error(400, "invalid_request_error", reason);
    }
    let model = body["model"].as_str().unwrap_or_default().to_owned();
    let asked = Asked {
        api: Service::Anthropic,
        model: model.clone(),
        prompt,
        max_tokens: body["max_tokens"].as_u64(),
        body: body.clone(),
    };
    let reply = match models.answer(asked, None) {
        Ok(reply) => reply,
        Err(problem) => return error(400, "invalid_request_error", &problem),
    };
    if let Some(Failure::Status { code, retry_after }) = reply.failure {
        return failed(code, retry_after);
    }
    let usage = models.lock().cache.account(&body);
    let number = models.lock().calls.len();
    let message = Message {
        id: format!("msg_sim{number:06}"),
        model,
        usage,
        reply,
    };
    let mut response = if body["stream"] == true {
        message.streamed()
    } else {
        message.whole()
    };
    if let Ok(id) = HeaderValue::from_str(&format!("req_sim{number:06}")) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// `GET /v1/models`.
pub(super) fn list(models: &Models, headers: &HeaderMap) -> Response {
    if !authorised(models, headers) {
        return error(401, "authentication_error", "invalid x-api-key");
    }
    let model = json!({
        "type": "model", "id": "simulated", "display_name": "Simulated", "created_at": "2026-01-01T00:00:00Z",
    });
    Json(json!({"data": [model], "has_more": false, "first_id": "simulated", "last_id": "simulated"}))
        .into_response()
}

/// If both headers are sent the key counts.
fn authorised(models: &Models, headers: &HeaderMap) -> bool {
    models.has_key(header(headers, "x-api-key").or_else(|| bearer(headers)))
}

/// An error in the API's form.
pub(super) fn error(code: u16, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"});
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .insert("request-id", HeaderValue::from_static("req_sim"));
    response
}

fn failed(code: u16, retry_after: Option<u32>) -> Response {
    let kind = match code {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        code if code < 500 => "invalid_request_error",
        _ => "api_error",
    };
    let mut response = error(code, kind, &format!("as the script wants it: {kind}"));
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.into());
    }
    if code == 429 {
        headers.insert("anthropic-ratelimit-requests-remaining", 0.into());
    }
    headers.insert(
        "x-should-retry",
        HeaderValue::from_static(if code == 429 || code >= 500 {
            "true"
        } else {
            "false"
        }),
    );
    response
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    let version = header(headers, "anthropic-version").ok_or("anthropic-version: header is required")?;
    if !VERSIONS.contains(&version) {
        return Err(format!("anthropic-version: \"{version}\" is not a valid version"));
    }
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|problem| format!("the body: {problem}"))?;
    if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key}: Extra inputs are not permitted"));
    }
    let sampling = SAMPLING.iter().find(|key| body.contains_key(**key));
    if let Some(key) = sampling.filter(|_| version == NEWEST) {
        return Err(format!("{key}: is not supported on anthropic-version {NEWEST}"));
    }
    let body = Value::Object(body);
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("model: Field required".to_owned());
    }
    if body["max_tokens"].as_u64().is_none() {
        return Err("max_tokens: Field required, a whole number".to_owned());
    }
    if !body["stream"].is_null() && !body["stream"].is_boolean() {
        return Err("stream: Input should be a valid boolean".to_owned());
    }
    if breakpoints(&body) > 4 {
        return Err("A maximum of 4 blocks with cache_control may be provided.".to_owned());
    }
    check_content("system", &body["system"], &["text"], true)?;
    let messages = body["messages"].as_array().ok_or("messages: Field required")?;
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(message, &format!("messages.{index}"), version)?;
    }
    Ok(body)
}

fn check_message(message: &Value, place: &str, version: &str) -> Result<(), String> {
    let fields = message
        .as_object()
        .ok_or_else(|| format!("{place}: Input should be an object"))?;
    if let Some(key) = fields
        .keys()
        .find(|key| !["role", "content"].contains(&key.as_str()))
    {
        return Err(format!("{place}.{key}: Extra inputs are not permitted"));
    }
    let role = message["role"].as_str().unwrap_or_default();
    if !["user", "assistant"].contains(&role) {
        return Err(format!("{place}.role: Input should be 'user' or 'assistant'"));
    }
    check_content(&format!("{place}.content"), &message["content"], &BLOCKS, false)?;
    let blocks = message["content"].as_array().into_iter().flatten();
    let refused = blocks.into_iter().find(|block| {
        let document = role == "assistant" && block["type"] == "document";
        let citations =
            block["type"] == "text" && block["citations"].as_array().is_some_and(|it| !it.is_empty());
        document || (role == "user" && citations)
    });
    match refused {
        Some(block) if version == NEWEST => Err(format!(
            "{place}: {} is not supported here on {NEWEST}",
            block["type"]
        )),
        _ => Ok(()),
    }
}

fn check_content(place: &str, content: &Value, known: &[&str], optional: bool) -> Result<(), String> {
    match content {
        Value::Null if optional => Ok(()),
        Value::String(text) if text.is_empty() && !optional => {
            Err(format!("{place}: must have non-empty content"))
        }
        Value::String(_) => Ok(()),
        Value::Array(blocks) => {
            for (index, block) in blocks.iter().enumerate() {
                let kind = block["type"].as_str().unwrap_or_default();
                if !known.contains(&kind) {
                    return Err(format!(
                        "{place}.{index}.type: Input tag '{kind}' is not one of {}",
                        known.join(", ")
                    ));
                }
                if kind == "text" && block["text"].as_str().is_none_or(str::is_empty) {
                    return Err(format!("{place}: text content blocks must be non-empty"));
                }
                let control = &block["cache_control"];
                let ttl = control["ttl"].as_str().unwrap_or("5m");
                if !control.is_null() && (control["type"] != "ephemeral" || !["5m", "1h"].contains(&ttl)) {
                    return Err(format!(
                        "{place}.{index}.cache_control: Input should be ephemeral, for 5m or 1h"
                    ));
                }
            }
            Ok(())
        }
        _ => Err(format!("{place}: Input should be a text or an array of blocks")),
    }
}

fn prompt(body: &Value) -> String {
    let messages = body["messages"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|message| &message["content"]);
    let parts = std::iter::once(&body["system"]).chain(messages).map(text);
    parts
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| match block["type"].as_str() {
                Some("text") => block["text"].as_str().unwrap_or_default().to_owned(),
                Some("tool_result") => text(&block["content"]),
                _ => String::new(),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn ends_in_prefill(body: &Value) -> bool {
    body["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .is_some_and(|last| last["role"] == "assistant")
}

/// A reply that paused is to be sent back as it is; without one, an assistant's message at the end is a prefill.
fn was_paused(models: &Models) -> bool {
    models.lock().script.paused()
}

struct Message {
    id: String,
    model: String,
    usage: CacheUse,
    reply: Reply,
}

impl Message {
    fn stop_reason(&self) -> &'static str {
        match self.reply.stop_reason {
            StopReason::EndTurn => "end_turn",
            StopReason::MaxTokens => "max_tokens",
            StopReason::StopSequence => "stop_sequence",
            StopReason::Refusal => "refusal",
            StopReason::ModelContextWindowExceeded => "model_context_window_exceeded",
            StopReason::PauseTurn => "pause_turn",
        }
    }

    fn stop_details(&self) -> Value {
        match self.reply.stop_reason {
            StopReason::Refusal => {
                json!({"type": "refusal", "category": null, "explanation": "as the script wants it"})
            }
            _ => Value::Null,
        }
    }

    fn usage(&self, output_tokens: u64) -> Value {
        let CacheUse { fresh, written, read } = &self.usage;
        let input_tokens = self.reply.usage.input_tokens.unwrap_or(*fresh);
        if self.reply.usage.without_cache_fields {
            return json!({"input_tokens": input_tokens + written + read, "output_tokens": output_tokens});
        }
        json!({
            "input_tokens": input_tokens,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output_tokens,
            "service_tier": "standard",
        })
    }

    fn head(&self) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null,
        })
    }

    fn whole(self) -> Response {
        if let Some(Failure::ErrorEvent { kind, .. }) = &self.reply.failure {
            return error(
                if kind == "overloaded_error" { 529 } else { 500 },
                kind,
                "as the script wants it",
            );
        }
        let mut message = self.head();
        let thinking = self
            .reply
            .thinking
            .iter()
            .map(|text| json!({"type": "thinking", "thinking": text, "signature": "c2ln"}));
        let text = Some(&self.reply.text)
            .filter(|text| !text.is_empty())
            .map(|text| json!({"type": "text", "text": text}));
        message["content"] = thinking.chain(text).collect();
        message["stop_reason"] = json!(self.stop_reason());
        message["stop_details"] = self.stop_details();
        if !self.reply.usage.absent {
            message["usage"] = self.usage(self.reply.output_tokens());
        }
        stream::respond_whole(
            "application/json",
            message.to_string(),
            self.reply.failure.as_ref(),
        )
    }

    fn streamed(self) -> Response {
        let mut start = self.head();
        if !self.reply.usage.absent {
            start["usage"] = self.usage(1);
        }
        let mut events = vec![
            event("message_start", json!({"message": start})),
            event("ping", json!({})),
        ];
        let mut index = 0;
        if let Some(thinking) = &self.reply.thinking {
            let deltas = vec![
                json!({"type": "thinking_delta", "thinking": thinking}),
                json!({"type": "signature_delta", "signature": "c2ln"}),
            ];
            events.extend(block(
                index,
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                deltas,
            ));
            index += 1;
        }
        if !self.reply.text.is_empty() {
            let pieces = self.reply.pieces();
            let deltas = pieces
                .iter()
                .map(|text| json!({"type": "text_delta", "text": text}))
                .collect();
            events.extend(block(index, json!({"type": "text", "text": ""}), deltas));
        }
        let delta = json!({
            "stop_reason": self.stop_reason(), "stop_sequence": null, "stop_details": self.stop_details(),
        });
        let mut end = json!({"delta": delta});
        if !self.reply.usage.absent {
            end["usage"] = self.usage(self.reply.output_tokens());
        }
        events.push(event("message_delta", end));
        events.push(event("message_stop", json!({})));
        stream::respond(
            "text/event-stream; charset=utf-8",
            events,
            self.reply.failure.as_ref(),
            |kind| {
                event(
                    "error",
                    json!({"error": {"type": kind, "message": "as the script wants it"}}),
                )
            },
        )
    }
}

fn block(index: usize, start: Value, deltas: Vec<Value>) -> Vec<String> {
    let start = event(
        "content_block_start",
        json!({"index": index, "content_block": start}),
    );
    let deltas = deltas
        .into_iter()
        .map(|delta| event("content_block_delta", json!({"index": index, "delta": delta})));
    let stop = event("content_block_stop", json!({"index": index}));
    std::iter::once(start).chain(deltas).chain([stop]).collect()
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}
