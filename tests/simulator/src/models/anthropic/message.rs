//! A reply in the API's form, whole or as events.

use axum::response::Response;
use serde_json::{Value, json};

use super::error;
use crate::models::cache::CacheUse;
use crate::models::reply::{Failure, Reply, StopReason};
use crate::models::stream;

/// One reply.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) usage: CacheUse,
    pub(super) reply: Reply,
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
            "server_tool_use": null,
            "inference_geo": null,
            "service_tier": "standard",
        })
    }

    fn head(&self) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "container": null, "stop_reason": null, "stop_sequence": null, "stop_details": null,
        })
    }

    pub(super) fn whole(self) -> Response {
        if let Some(Failure::ErrorEvent { kind, .. }) = &self.reply.failure {
            return error(if kind == "overloaded_error" { 529 } else { 500 }, kind, "as the script wants it");
        }
        let mut message = self.head();
        let thinking = self
            .reply
            .thinking
            .iter()
            .map(|text| json!({"type": "thinking", "thinking": text, "signature": "c2ln"}));
        let text = Some(&self.reply.text)
            .filter(|text| !text.is_empty())
            .map(|text| json!({"type": "text", "text": text, "citations": null}));
        message["content"] = thinking.chain(text).collect();
        message["stop_reason"] = json!(self.stop_reason());
        message["stop_details"] = self.stop_details();
        if !self.reply.usage.absent {
            message["usage"] = self.usage(self.reply.output_tokens());
        }
        stream::respond_whole("application/json", message.to_string(), self.reply.failure.as_ref())
    }

    pub(super) fn streamed(self) -> Response {
        let mut start = self.head();
        if !self.reply.usage.absent {
            start["usage"] = self.usage(1);
        }
        let mut events = vec![event("message_start", json!({"message": start})), event("ping", json!({}))];
        let mut index = 0;
        if let Some(thinking) = &self.reply.thinking {
            let deltas = vec![
                json!({"type": "thinking_delta", "thinking": thinking}),
                json!({"type": "signature_delta", "signature": "c2ln"}),
            ];
            events.extend(block(index, json!({"type": "thinking", "thinking": "", "signature": ""}), deltas));
            index += 1;
        }
        if !self.reply.text.is_empty() {
            let pieces = self.reply.pieces();
            let deltas = pieces.iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
            events.extend(block(index, json!({"type": "text", "text": "", "citations": null}), deltas));
        }
        let delta = json!({
            "container": null, "stop_reason": self.stop_reason(), "stop_sequence": null,
            "stop_details": self.stop_details(),
        });
        let mut end = json!({"delta": delta});
        if !self.reply.usage.absent {
            end["usage"] = self.usage(self.reply.output_tokens());
        }
        events.push(event("message_delta", end));
        events.push(event("message_stop", json!({})));
        stream::respond("text/event-stream; charset=utf-8", events, self.reply.failure.as_ref(), |kind| {
            event("error", json!({"error": {"type": kind, "message": "as the script wants it"}}))
        })
    }
}

fn block(index: usize, start: Value, deltas: Vec<Value>) -> Vec<String> {
    let start = event("content_block_start", json!({"index": index, "content_block": start}));
    let deltas =
        deltas.into_iter().map(|delta| event("content_block_delta", json!({"index": index, "delta": delta})));
    let stop = event("content_block_stop", json!({"index": index}));
    std::iter::once(start).chain(deltas).chain([stop]).collect()
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}
