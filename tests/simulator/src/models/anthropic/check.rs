//! What the API refuses.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use crate::models::cache::breakpoints;
use crate::models::header;

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

/// The body, when the API would take it; else the message that it gives.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
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
    let fields = message.as_object().ok_or_else(|| format!("{place}: Input should be an object"))?;
    if let Some(key) = fields.keys().find(|key| !["role", "content"].contains(&key.as_str())) {
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
        Some(block) if version == NEWEST => {
            Err(format!("{place}: {} is not supported here on {NEWEST}", block["type"]))
        }
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
