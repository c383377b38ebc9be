//! Ollama's own API, streamed as one JSON document a line: <https://docs.ollama.com/api/chat>.
//!
//! By default Ollama reads only as much of a long prompt as fits, drops the rest without a word, and answers 200.
//! Three things prevent that:
//! 1. `num_ctx` is always sent, and a prompt that by our estimate does not fit it is not sent at all.
//! 2. `truncate: false` and `shift: false` make servers since late 2025 answer 400 instead.
//! 3. For older ones `prompt_eval_count` is compared with our estimate: below half of it the prompt was cut (Ollama
//!    cuts to about half of the window). Some versions do not count what they had cached, so this is done only for
//!    the first message of a conversation, and not for a count below 1024, which is what a cache leaves of a prompt
//!    that is asked again; no window is that small. A missing count means nothing.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jira_agent::config::ModelConfig;
use jira_agent::http::Http;
use reqwest::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::endpoint::Endpoint;
use super::openai::chat_messages;
use super::refusal::{Complaint, Failure};
use super::{Answer, ModelError, Request, Stop, Usage};

/// Counts below this say nothing about truncation.
const SMALLEST_CUT: u64 = 1024;

#[derive(Debug, Clone)]
pub(super) struct Ollama {
    endpoint: Endpoint,
    num_ctx: u32,
}

impl Ollama {
    pub fn new(config: &ModelConfig, http: Http) -> anyhow::Result<Self> {
        let base = match &config.base_url {
            Some(base) => base.clone(),
            None => Url::parse("http://127.0.0.1:11434")?,
        };
        let url = super::endpoint::address(&base, "api", true, "chat");
        let endpoint = Endpoint::new(config, http, url)
            .with_key(AUTHORIZATION, "Bearer ")?
            // Nothing is sent while the model is loaded and reads the prompt, which takes minutes without a GPU.
            .with_first_byte_timeout(config.timeout);
        let num_ctx = config.max_input_tokens.saturating_add(config.max_output_tokens);
        Ok(Self { endpoint, num_ctx })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let estimate = request.estimated_tokens();
        if estimate > self.num_ctx {
            return Err(self.truncated(estimate, u64::from(self.num_ctx)));
        }
        let body = json!({
            "model": self.endpoint.model(),
            "messages": chat_messages(request),
            "stream": true,
            "truncate": false,
            "shift": false,
            "options": {"num_ctx": self.num_ctx, "num_predict": request.max_output_tokens},
        });
        let response = self.endpoint.post(request, &body).await?;
        self.read(request, response).await
    }

    async fn read(&self, request: &Request, response: Response) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let mut lines = Lines::new(self.endpoint.chunks(response));
        while let Some(line) = lines.next().await? {
            let chunk: Chunk = serde_json::from_slice(&line).map_err(|error| {
                self.endpoint.interrupted(format!("a line that cannot be read ({error})"))
            })?;
            if let Some(error) = &chunk.error {
                let complaint = Complaint::of_value(error);
                return Err(self.endpoint.judge(request, 500, &HeaderMap::new(), &complaint));
            }
            if let Some(text) = chunk.message.as_ref().and_then(|message| message.content.as_ref()) {
                answer.text.push_str(text);
            }
            if chunk.done {
                self.check_count(request, &chunk)?;
                answer.stop = Some(chunk.stop(request.max_output_tokens));
                answer.usage = chunk.usage();
                answer.model = chunk.model;
                return Ok(answer);
            }
        }
        Err(self.endpoint.interrupted("it ended before its last line"))
    }

    /// The third rule of the module's documentation.
    fn check_count(&self, request: &Request, chunk: &Chunk) -> Result<(), Failure> {
        let estimate = request.estimated_tokens();
        match chunk.prompt_eval_count {
            Some(read)
                if request.messages.len() == 1
                    && read >= SMALLEST_CUT
                    && read.saturating_mul(2) < u64::from(estimate) =>
            {
                Err(self.truncated(estimate, read))
            }
            _ => Ok(()),
        }
    }

    fn truncated(&self, estimate: u32, window: u64) -> Failure {
        let error = ModelError::PromptTruncated {
            host: self.endpoint.host().to_owned(),
            prompt: u64::from(estimate),
            window,
        };
        error.into()
    }
}

/// The lines of a stream of bytes that are not empty, the last one with or without its end.
struct Lines<'a> {
    chunks: Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send + 'a>>,
    rest: Vec<u8>,
    ended: bool,
}

impl<'a> Lines<'a> {
    fn new(chunks: impl Stream<Item = Result<Bytes, Failure>> + Send + 'a) -> Self {
        Self { chunks: Box::pin(chunks), rest: Vec::new(), ended: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let tail = self.rest.split_off(end + 1);
                let line = std::mem::replace(&mut self.rest, tail);
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            } else if self.ended {
                let line = std::mem::take(&mut self.rest);
                return Ok((!line.trim_ascii().is_empty()).then_some(line));
            } else {
                match self.chunks.next().await {
                    Some(chunk) => self.rest.extend_from_slice(&chunk?),
                    None => self.ended = true,
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct Chunk {
    model: Option<String>,
    message: Option<ChatMessage>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    prompt_eval_cached_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    content: Option<String>,
}

impl Chunk {
    fn stop(&self, num_predict: u32) -> Stop {
        match self.done_reason.as_deref() {
            // Older servers give no reason.
            None | Some("" | "stop") => Stop::End,
            // With `shift: false` a full window ends the reply before its limit does.
            Some("length") if self.eval_count.is_some_and(|count| count < u64::from(num_predict)) => {
                Stop::ContextExceeded
            }
            Some("length") => Stop::MaxTokens,
            Some(other) => Stop::other(other),
        }
    }

    /// The API's `prompt_eval_count` holds the cached ones, ours does not.
    fn usage(&self) -> Usage {
        let cached = self.prompt_eval_cached_count.unwrap_or(0);
        Usage {
            input: self.prompt_eval_count.unwrap_or(0).saturating_sub(cached),
            output: self.eval_count.unwrap_or(0),
            cache_write: 0,
            cache_read: cached,
        }
    }
}

#[cfg(test)]
mod tests;
