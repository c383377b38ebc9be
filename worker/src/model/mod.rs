//! The language model: one question, one reply, whichever service answers.

mod anthropic;
mod endpoint;
mod error;
mod ollama;
mod openai;
mod refusal;
#[cfg(test)]
mod testing;
mod usage;

use std::time::{Duration, Instant};

use jira_agent::config::{ModelConfig, ModelProvider};
use jira_agent::http::Http;
use jira_agent::retry::{RetryPolicy, retry};
use tokio_util::sync::CancellationToken;

use self::anthropic::Anthropic;
use self::ollama::Ollama;
use self::openai::OpenAi;
use self::refusal::{Failure, verdict};

pub use self::error::ModelError;
pub use self::usage::{Usage, estimate_tokens};

/// What the model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who the model is and how it answers; the same for many requests.
    pub system: String,
    /// The conversation, a user's message first and last.
    pub messages: Vec<Message>,
    /// Whether the prompt is worth caching at the service (Anthropic): when more rounds are likely to follow.
    pub cache: bool,
    /// The most tokens of the reply.
    pub max_output_tokens: u32,
}

impl Request {
    /// The prompt's tokens by [`estimate_tokens`].
    #[must_use]
    pub fn estimated_tokens(&self) -> u32 {
        // A few tokens mark where each message begins.
        let message = |message: &Message| estimate_tokens(&message.text).saturating_add(8);
        self.messages.iter().map(message).fold(estimate_tokens(&self.system), u32::saturating_add)
    }
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What.
    pub text: String,
}

impl Message {
    /// What we say.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, text: text.into() }
    }

    /// What the model said. A turn without a word is refused by the services, so it gets one.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = if text.trim().is_empty() { "(no reply)".to_owned() } else { text };
        Self { role: Role::Assistant, text }
    }
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What the model answered, to its end. The text is whole only with [`Stop::End`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The text, without thinking that the service keeps apart.
    pub text: String,
    /// Why the model stopped.
    pub stop: Stop,
    /// What it took. Tries that broke off are not in it, since no service says what they took.
    pub usage: Usage,
    /// The model's name as the service gives it.
    pub model: String,
    /// How long it took, all tries and waits included.
    pub duration: Duration,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It has said everything.
    End,
    /// The reply reached its limit (`max_output_tokens`).
    MaxTokens,
    /// Prompt and reply together do not fit the model; the text may be empty.
    ContextExceeded,
    /// The model or a filter before it refuses to answer.
    Refusal {
        /// The reason, as far as one is given.
        why: String,
    },
    /// Something that was not asked for, such as a call of a tool, or a reason of a newer API.
    Other {
        /// The service's word for it.
        reason: String,
    },
}

impl Stop {
    fn other(reason: &str) -> Self {
        Self::Other { reason: reason.to_owned() }
    }
}

/// A configured model. Clones share connections.
#[derive(Debug, Clone)]
pub struct Model {
    client: Client,
    timeout: Duration,
    policy: RetryPolicy,
}

#[derive(Debug, Clone)]
enum Client {
    Anthropic(Anthropic),
    OpenAi(OpenAi),
    Ollama(Ollama),
}

/// What one try brought.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    stop: Option<Stop>,
    usage: Usage,
    model: Option<String>,
}

impl Model {
    /// The model of the settings.
    ///
    /// # Errors
    /// When the key cannot be sent in a header.
    pub fn new(config: &ModelConfig, http: Http) -> anyhow::Result<Self> {
        let policy = *http.policy();
        let client = match config.provider {
            ModelProvider::Anthropic => Client::Anthropic(Anthropic::new(config, http)?),
            ModelProvider::Openai => Client::OpenAi(OpenAi::new(config, http)?),
            ModelProvider::Ollama => Client::Ollama(Ollama::new(config, http)?),
        };
        Ok(Self { client, timeout: config.timeout, policy })
    }

    /// Asks the model, trying again after failures that pass, within the retry budget.
    ///
    /// # Errors
    /// See [`ModelError`]. A reply that breaks off is an error; one that is cut, refused or too long is a [`Stop`].
    pub async fn complete(&self, request: &Request, cancel: &CancellationToken) -> Result<Reply, ModelError> {
        let started = Instant::now();
        let tries = retry(&self.policy, cancel, || self.attempt(request), verdict);
        // Cancel-safe: dropping the tries closes their connection, and nothing else was changed by them.
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ModelError::Cancelled),
            result = tokio::time::timeout(self.timeout, Box::pin(tries)) => result,
        };
        let answer = match result {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failure::ContextExceeded)) => {
                Answer { stop: Some(Stop::ContextExceeded), ..Answer::default() }
            }
            Ok(Err(Failure::Failed { error, .. })) => return Err(error),
            Err(_) => {
                return Err(ModelError::TimedOut {
                    host: self.endpoint().host().to_owned(),
                    after: self.timeout,
                });
            }
        };
        let duration = started.elapsed();
        let reply = Reply {
            text: answer.text,
            stop: answer.stop.unwrap_or_else(|| Stop::other("none given")),
            usage: answer.usage,
            model: answer.model.unwrap_or_else(|| self.name().to_owned()),
            duration,
        };
        let Usage { input, output, cache_write, cache_read } = reply.usage;
        tracing::debug!(
            model = reply.model,
            stop = ?reply.stop,
            input,
            output,
            cache_write,
            cache_read,
            duration_ms = duration.as_millis(),
            "the model replied"
        );
        Ok(reply)
    }

    /// The configured name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.endpoint().model()
    }

    fn endpoint(&self) -> &endpoint::Endpoint {
        match &self.client {
            Client::Anthropic(client) => client.endpoint(),
            Client::OpenAi(client) => client.endpoint(),
            Client::Ollama(client) => client.endpoint(),
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, Failure> {
        match &self.client {
            Client::Anthropic(client) => client.ask(request).await,
            Client::OpenAi(client) => client.ask(request).await,
            Client::Ollama(client) => client.ask(request).await,
        }
    }
}
