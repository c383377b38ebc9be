//! Anthropic Messages, streamed: <https://platform.claude.com/docs/en/api/messages> and `…/streaming`.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use jira_agent::config::ModelConfig;
use jira_agent::http::Http;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::endpoint::{Endpoint, address};
use super::refusal::{Complaint, Failure};
use super::{Answer, Request, Role, Stop, Usage, estimate_tokens};

/// The version of the API. Since this one the sampling parameters (`temperature`, `top_p`, `top_k`) are refused,
/// so none is sent. See <https://platform.claude.com/docs/en/api/versioning>.
const VERSION: &str = "2026-10-21";
/// How often a turn that pauses is resumed.
const MAX_PAUSES: usize = 4;
/// A message below this many tokens is not worth a cache breakpoint; models cache from 512 to 4096.
const CACHE_FROM_TOKENS: u32 = 1024;

#[derive(Debug, Clone)]
pub(super) struct Anthropic {
    endpoint: Endpoint,
}

impl Anthropic {
    pub fn new(config: &ModelConfig, http: Http) -> anyhow::Result<Self> {
        let base = match &config.base_url {
            Some(base) => base.clone(),
            None => Url::parse("https://api.anthropic.com")?,
        };
        let endpoint = Endpoint::new(config, http, address(&base, "v1", true, "messages"))
            .with_header(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION))
            .with_key(HeaderName::from_static("x-api-key"), "")?;
        Ok(Self { endpoint })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let mut messages = messages(request);
        let mut answer = Answer::default();
        for _ in 0..=MAX_PAUSES {
            let body = self.body(request, &messages);
            let response = self.endpoint.post(request, &body).await?;
            let turn = self.read(request, response).await?;
            answer.text.push_str(&turn.text());
            answer.usage += turn.usage.total();
            answer.model = turn.model.clone().or(answer.model);
            let paused = turn.stop.reason.as_deref() == Some("pause_turn");
            answer.stop = Some(turn.stop.meaning());
            if !paused {
                break;
            }
            // A paused turn goes on when what there is of it is sent back unchanged.
            messages.push(json!({"role": "assistant", "content": turn.blocks()}));
        }
        Ok(answer)
    }

    fn body(&self, request: &Request, messages: &[Value]) -> Value {
        let system = cached(json!({"type": "text", "text": request.system}), request.cache);
        json!({
            "model": self.endpoint.model(),
            "max_tokens": request.max_output_tokens,
            "system": [system],
            "messages": messages,
            "stream": true,
        })
    }

    async fn read(&self, request: &Request, response: Response) -> Result<Turn, Failure> {
        let mut turn = Turn::default();
        let mut events = std::pin::pin!(self.endpoint.events(response));
        while let Some(data) = events.next().await {
            let event = serde_json::from_str(&data?).map_err(|error| {
                self.endpoint.interrupted(format!("an event that cannot be read ({error})"))
            })?;
            match event {
                Event::MessageStop => return Ok(turn),
                Event::Error { error } => {
                    let complaint = Complaint::of_value(&error);
                    let status = status_of(&complaint.code);
                    return Err(self.endpoint.judge(request, status, &HeaderMap::new(), &complaint));
                }
                event => turn.take(event),
            }
        }
        Err(self.endpoint.interrupted("it ended before its last event"))
    }
}

/// The messages as the API takes them, with a cache breakpoint behind the last large one of ours: that is the
/// context, which every further round repeats. The other breakpoint is behind the system prompt.
fn messages(request: &Request) -> Vec<Value> {
    let large = |message: &super::Message| {
        message.role == Role::User && estimate_tokens(&message.text) >= CACHE_FROM_TOKENS
    };
    let last_large = request.messages.iter().rposition(large);
    let turns = request.messages.iter().enumerate();
    turns
        .map(|(index, message)| {
            let block = json!({"type": "text", "text": message.text});
            let block = cached(block, request.cache && last_large == Some(index));
            json!({"role": message.role.as_str(), "content": [block]})
        })
        .collect()
}

fn cached(mut block: Value, cache: bool) -> Value {
    if cache {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
    block
}

/// The status that stands for an error within the stream: <https://platform.claude.com/docs/en/api/errors>.
fn status_of(code: &str) -> u16 {
    match code {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u64,
        content_block: Value,
    },
    ContentBlockDelta {
        index: u64,
        delta: Delta,
    },
    MessageDelta {
        #[serde(default)]
        delta: StopReason,
        #[serde(default)]
        usage: Option<WireUsage>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, `content_block_stop`, and what newer versions send.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Start {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Default, Deserialize)]
struct StopReason {
    #[serde(default, rename = "stop_reason")]
    reason: Option<String>,
    #[serde(default, rename = "stop_details")]
    details: Option<Value>,
}

impl StopReason {
    fn meaning(&self) -> Stop {
        match self.reason.as_deref() {
            Some("end_turn" | "stop_sequence") => Stop::End,
            Some("max_tokens") => Stop::MaxTokens,
            Some("model_context_window_exceeded") => Stop::ContextExceeded,
            Some("refusal") => Stop::Refusal { why: self.why() },
            other => Stop::other(other.unwrap_or("none given")),
        }
    }

    fn why(&self) -> String {
        let details = self.details.as_ref();
        let word = |name: &str| details.and_then(|details| details.get(name)?.as_str());
        let words: Vec<&str> = ["category", "explanation"].into_iter().filter_map(word).collect();
        if words.is_empty() {
            "no reason given".to_owned()
        } else {
            words.join(": ").chars().take(500).collect()
        }
    }
}

/// Counts are cumulative, and a later event may repeat only some of them.
#[derive(Debug, Default, Deserialize)]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl WireUsage {
    fn merge(&mut self, newer: Self) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
    }

    /// The API's `input_tokens` leaves out what the cache had a part in, as ours does.
    fn total(&self) -> Usage {
        Usage {
            input: self.input_tokens.unwrap_or(0),
            output: self.output_tokens.unwrap_or(0),
            cache_write: self.cache_creation_input_tokens.unwrap_or(0),
            cache_read: self.cache_read_input_tokens.unwrap_or(0),
        }
    }
}

/// A turn of the model as it grows.
#[derive(Debug, Default)]
struct Turn {
    blocks: BTreeMap<u64, Value>,
    stop: StopReason,
    usage: WireUsage,
    model: Option<String>,
}

impl Turn {
    fn take(&mut self, event: Event) {
        match event {
            Event::MessageStart { message } => {
                self.model = message.model;
                self.usage.merge(message.usage.unwrap_or_default());
            }
            Event::ContentBlockStart { index, content_block } => {
                self.blocks.insert(index, content_block);
            }
            Event::ContentBlockDelta { index, delta } => match delta {
                Delta::Text { text } => self.append(index, "text", &text),
                Delta::Thinking { thinking } => self.append(index, "thinking", &thinking),
                Delta::Signature { signature } => self.append(index, "signature", &signature),
                Delta::Unknown => {}
            },
            Event::MessageDelta { delta, usage } => {
                self.stop = delta;
                self.usage.merge(usage.unwrap_or_default());
            }
            Event::MessageStop | Event::Error { .. } | Event::Unknown => {}
        }
    }

    fn append(&mut self, index: u64, field: &str, text: &str) {
        let kind = if field == "text" { "text" } else { "thinking" };
        let block = self.blocks.entry(index).or_insert_with(|| json!({"type": kind}));
        match block.get_mut(field) {
            Some(Value::String(whole)) => whole.push_str(text),
            _ => block[field] = json!(text),
        }
    }

    fn text(&self) -> String {
        let texts = self.blocks.values().filter(|block| block["type"] == "text");
        texts.filter_map(|block| block["text"].as_str()).collect()
    }

    fn blocks(&self) -> Vec<&Value> {
        self.blocks.values().collect()
    }
}

#[cfg(test)]
mod tests;
