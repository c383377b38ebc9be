//! OpenAI chat completions.
//!
//! <https://platform.openai.com/docs/api-reference/chat>

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::reply::{Failure, Reply, StopReason};
use super::{Asked, Models, bearer, stream, tokens};
use crate::service::Service;

/// The keys that a request may have.
const KEYS: [&str; 34] = [
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "n",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "seed",
    "user",
    "store",
    "metadata",
    "reasoning_effort",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "modalities",
    "prediction",
    "service_tier",
    "verbosity",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "web_search_options",
    "functions",
    "function_call",
];
const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// `POST /v1/chat/completions`.
pub(super) async fn completions(State(models): State<Models>, headers: HeaderMap, body: Bytes) -> Response {
    if !models.has_key(bearer(&headers)) {
        return error(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided.");
    }
    let body = match read(&body) {
        Ok(body) => body,
        Err(reason) => {
            models.report(format!("OpenAI: POST /v1/chat/completions: {reason}"));
            return error(400, "invalid_request_error", None, &reason);
        }
    };
    let limit = body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64());
    let (prompt, model) = (prompt(&body), body["model"].as_str().unwrap_or_default().to_owned());
    let asked = Asked {
        api: Service::OpenAi,
        model: model.clone(),
        prompt: prompt.clone(),
        body: body.clone(),
        max_tokens: limit,
    };
    let reply = match models.answer(asked, None) {
        Ok(reply) => reply,
        Err(problem) => return error(400, "invalid_request_error", None, &problem),
    };
    if reply.stop_reason == StopReason::ModelContextWindowExceeded {
        let message =
            "This model's maximum context length is exceeded. Please reduce the length of the messages.";
        return error(400, "invalid_request_error", Some("context_length_exceeded"), message);
    }
    if let Some(Failure::Status { code, retry_after }) = reply.failure {
        return failed(code, retry_after);
    }
    let number = models.lock().calls.len();
    let completion =
        Completion { id: format!("chatcmpl-sim{number:06}"), model, prompt_tokens: tokens(&prompt), reply };
    let with_usage = body["stream_options"]["include_usage"] == true;
    let mut response =
        if body["stream"] == true { completion.streamed(with_usage) } else { completion.whole() };
    if let Ok(id) = HeaderValue::from_str(&format!("req_sim{number:06}")) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// `GET /v1/models`.
pub(super) fn list(models: &Models, headers: &HeaderMap) -> Response {
    if !models.has_key(bearer(headers)) {
        return error(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided.");
    }
    let model =
        json!({"id": Models::NAME, "object": "model", "created": 1_767_225_600, "owned_by": "simulator"});
    Json(json!({"object": "list", "data": [model]})).into_response()
}

/// An error in the API's form.
pub(super) fn error(code: u16, kind: &str, reason: Option<&str>, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": reason}});
    (StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

fn failed(code: u16, retry_after: Option<u32>) -> Response {
    let (kind, reason) = match code {
        429 => ("requests", Some("rate_limit_exceeded")),
        code if code >= 500 => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    let mut response = error(code, kind, reason, "as the script wants it");
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn read(body: &[u8]) -> Result<Value, String> {
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|problem| format!("the body: {problem}"))?;
    if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("Unrecognized request argument supplied: {key}"));
    }
    if body.contains_key("max_tokens") && body.contains_key("max_completion_tokens") {
        return Err(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.".to_owned()
        );
    }
    if body.contains_key("stream_options") && body.get("stream") != Some(&json!(true)) {
        return Err("The 'stream_options' parameter is only allowed when 'stream' is enabled.".to_owned());
    }
    let body = Value::Object(body);
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("you must provide a model parameter".to_owned());
    }
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    for (index, message) in messages.ok_or("Missing required parameter: 'messages'.")?.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !ROLES.contains(&role) {
            return Err(format!(
                "Invalid value: '{role}' in messages[{index}].role, not one of {}",
                ROLES.join(", ")
            ));
        }
        let content = &message["content"];
        if !content.is_string() && !content.is_array() && role != "assistant" {
            return Err(format!(
                "Invalid type for 'messages[{index}].content': a string or an array of objects"
            ));
        }
    }
    Ok(body)
}

fn prompt(body: &Value) -> String {
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    };
    let messages = body["messages"].as_array().into_iter().flatten();
    messages.map(|message| text(&message["content"])).collect::<Vec<_>>().join("\n\n")
}

struct Completion {
    id: String,
    model: String,
    prompt_tokens: u64,
    reply: Reply,
}

impl Completion {
    fn finish_reason(&self) -> &'static str {
        match self.reply.stop_reason {
            StopReason::MaxTokens => "length",
            StopReason::Refusal => "content_filter",
            _ => "stop",
        }
    }

    fn usage(&self) -> Value {
        let prompt = self.reply.usage.input_tokens.unwrap_or(self.prompt_tokens);
        let completion = self.reply.output_tokens();
        let mut usage = json!({
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        });
        if !self.reply.usage.without_cache_fields {
            usage["prompt_tokens_details"] = json!({"cached_tokens": 0, "audio_tokens": 0});
            usage["completion_tokens_details"] = json!({"reasoning_tokens": 0, "audio_tokens": 0});
        }
        usage
    }

    fn frame(&self, object: &str) -> Value {
        let created = Timestamp::now().as_second();
        json!({"id": self.id, "object": object, "created": created, "model": self.model, "choices": []})
    }

    fn whole(self) -> Response {
        if let Some(Failure::ErrorEvent { kind, .. }) = &self.reply.failure {
            return error(500, kind, None, "as the script wants it");
        }
        let mut answer = self.frame("chat.completion");
        let message = json!({"role": "assistant", "content": self.reply.text, "refusal": null});
        answer["choices"] = json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason()}]);
        if !self.reply.usage.absent {
            answer["usage"] = self.usage();
        }
        stream::respond_whole("application/json", answer.to_string(), self.reply.failure.as_ref())
    }

    fn streamed(self, with_usage: bool) -> Response {
        let chunk = |delta: Value, finish: Option<&str>| {
            let mut chunk = self.frame("chat.completion.chunk");
            chunk["choices"] =
                json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
            if with_usage {
                chunk["usage"] = Value::Null;
            }
            data(&chunk)
        };
        let mut events = vec![chunk(json!({"role": "assistant", "content": "", "refusal": null}), None)];
        events.extend(self.reply.pieces().iter().map(|text| chunk(json!({"content": text}), None)));
        events.push(chunk(json!({}), Some(self.finish_reason())));
        if with_usage && !self.reply.usage.absent {
            let mut last = self.frame("chat.completion.chunk");
            last["usage"] = self.usage();
            events.push(data(&last));
        }
        events.push("data: [DONE]\n\n".to_owned());
        stream::respond("text/event-stream", events, self.reply.failure.as_ref(), |kind| {
            data(
                &json!({"error": {"message": "as the script wants it", "type": kind, "param": null, "code": null}}),
            )
        })
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}
