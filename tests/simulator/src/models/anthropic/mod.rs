//! Anthropic Messages.
//!
//! <https://platform.claude.com/docs/en/api/messages>

mod check;
mod message;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::reply::Failure;
use super::{Asked, Models, bearer, header};
use crate::service::Service;
use check::read;
use message::Message;

/// `POST /v1/messages`.
pub(in crate::models) async fn messages(
    State(models): State<Models>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
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
    let message = Message { id: format!("msg_sim{number:06}"), model, usage, reply };
    let mut response = if body["stream"] == true { message.streamed() } else { message.whole() };
    if let Ok(id) = HeaderValue::from_str(&format!("req_sim{number:06}")) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// `GET /v1/models`.
pub(in crate::models) fn list(models: &Models, headers: &HeaderMap) -> Response {
    if !authorised(models, headers) {
        return error(401, "authentication_error", "invalid x-api-key");
    }
    let model = json!({
        "type": "model", "id": Models::NAME, "display_name": "Simulated", "created_at": "2026-01-01T00:00:00Z",
    });
    Json(json!({"data": [model], "has_more": false, "first_id": Models::NAME, "last_id": Models::NAME}))
        .into_response()
}

/// If both headers are sent the key counts.
fn authorised(models: &Models, headers: &HeaderMap) -> bool {
    models.has_key(header(headers, "x-api-key").or_else(|| bearer(headers)))
}

/// An error in the API's form.
pub(in crate::models) fn error(code: u16, kind: &str, message: &str) -> Response {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"});
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert("request-id", HeaderValue::from_static("req_sim"));
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
        HeaderValue::from_static(if code == 429 || code >= 500 { "true" } else { "false" }),
    );
    response
}

fn prompt(body: &Value) -> String {
    let messages = body["messages"].as_array().into_iter().flatten().map(|message| &message["content"]);
    let parts = std::iter::once(&body["system"]).chain(messages).map(text);
    parts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
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
