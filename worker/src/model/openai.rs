//! OpenAI chat completions, streamed, and what is compatible with them:
//! <https://platform.openai.com/docs/api-reference/chat/create>.

use futures_util::StreamExt as _;
use jira_agent::config::ModelConfig;
use jira_agent::http::Http;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::endpoint::{Endpoint, address};
use super::refusal::{Complaint, Failure};
use super::{Answer, Request, Stop, Usage};

#[derive(Debug, Clone)]
pub(super) struct OpenAi {
    endpoint: Endpoint,
}

impl OpenAi {
    pub fn new(config: &ModelConfig, http: Http) -> anyhow::Result<Self> {
        let base = match &config.base_url {
            Some(base) => base.clone(),
            None => Url::parse("https://api.openai.com/v1")?,
        };
        let url = address(&base, "v1", false, "chat/completions");
        let endpoint = Endpoint::new(config, http, url).with_key(AUTHORIZATION, "Bearer ")?;
        Ok(Self { endpoint })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let body = json!({
            "model": self.endpoint.model(),
            "messages": chat_messages(request),
            "max_completion_tokens": request.max_output_tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let response = self.endpoint.post(request, &body).await?;
        self.read(request, response).await
    }

    async fn read(&self, request: &Request, response: Response) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let mut refusal = String::new();
        let mut finish = None;
        let mut events = std::pin::pin!(self.endpoint.events(response));
        while let Some(data) = events.next().await {
            let data = data?;
            if data.trim() == "[DONE]" {
                break;
            }
            let chunk: Chunk = serde_json::from_str(&data).map_err(|error| {
                self.endpoint.interrupted(format!("an event that cannot be read ({error})"))
            })?;
            if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
                let complaint = Complaint::of_value(&error);
                return Err(self.endpoint.judge(
                    request,
                    status_of(&error, &complaint),
                    &HeaderMap::new(),
                    &complaint,
                ));
            }
            answer.model = chunk.model.or(answer.model);
            if let Some(usage) = chunk.usage {
                answer.usage = usage.total();
            }
            let Some(choice) = chunk.choices.unwrap_or_default().into_iter().next() else {
                continue;
            };
            let delta = choice.delta.unwrap_or_default();
            answer.text.push_str(&delta.content.unwrap_or_default());
            refusal.push_str(&delta.refusal.unwrap_or_default());
            finish = choice.finish_reason.or(finish);
        }
        // Some compatible services leave out the closing `[DONE]`, none the reason.
        let Some(finish) = finish else {
            return Err(self.endpoint.interrupted("it ended before its last event"));
        };
        answer.stop = Some(meaning(&finish, &refusal));
        Ok(answer)
    }
}

/// The conversation with the system prompt as its first message; Ollama takes the same.
pub(super) fn chat_messages(request: &Request) -> Vec<Value> {
    let system = json!({"role": "system", "content": request.system});
    let turns = request
        .messages
        .iter()
        .map(|message| json!({"role": message.role.as_str(), "content": message.text}));
    std::iter::once(system).chain(turns).collect()
}

fn meaning(finish: &str, refusal: &str) -> Stop {
    let refused = |why: &str| Stop::Refusal { why: why.chars().take(500).collect() };
    match finish {
        "stop" if refusal.is_empty() => Stop::End,
        "stop" => refused(refusal),
        "length" => Stop::MaxTokens,
        "content_filter" => refused("the service's content filter"),
        other => Stop::other(other),
    }
}

/// The status that stands for an error within the stream: gateways put it into `code`; OpenAI names a kind.
fn status_of(error: &Value, complaint: &Complaint) -> u16 {
    let number = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    match (number, complaint.code.as_str()) {
        (Some(status @ 400..=599), _) => status,
        (_, "rate_limit_exceeded") => 429,
        (_, "context_length_exceeded" | "invalid_request_error") => 400,
        _ => 500,
    }
}

#[derive(Debug, Deserialize)]
struct Chunk {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl WireUsage {
    /// The API's `prompt_tokens` holds the cached ones, ours does not.
    fn total(self) -> Usage {
        let details = self.prompt_tokens_details.unwrap_or_default();
        let cache_read = details.cached_tokens.unwrap_or(0);
        let cache_write = details.cache_write_tokens.unwrap_or(0);
        let prompt = self.prompt_tokens.unwrap_or(0);
        Usage {
            input: prompt.saturating_sub(cache_read).saturating_sub(cache_write),
            output: self.completion_tokens.unwrap_or(0),
            cache_write,
            cache_read,
        }
    }
}

#[cfg(test)]
mod tests;
