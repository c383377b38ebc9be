use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::duration;
use crate::secret::Secret;

/// Which API the model speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelProvider {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions, and whatever is compatible.
    Openai,
    /// Ollama's own API.
    Ollama,
}

impl ModelProvider {
    /// The provider that is written so.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        let known = [Self::Anthropic, Self::Openai, Self::Ollama];
        known.into_iter().find(|provider| provider.word() == word)
    }

    /// How it is written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::Ollama => "ollama",
        }
    }

    /// The model that is used when none is named.
    pub(super) fn default_model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-sonnet-5-5",
            Self::Openai => "gpt-5.5",
            Self::Ollama => "qwen3-coder",
        }
    }
}

/// Section `[model]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The API.
    pub provider: ModelProvider,
    /// The model's name as the provider knows it; unset: one that suits the provider.
    pub name: String,
    /// Where the API is; unset: the provider's public address (Ollama: `http://127.0.0.1:11434`).
    #[serde(default)]
    pub base_url: Option<Url>,
    /// The key; Ollama needs none.
    #[serde(default)]
    pub api_key: Secret,
    /// The most tokens of one reply.
    pub max_output_tokens: u32,
    /// The most tokens of one prompt, estimated; for Ollama also `num_ctx` together with the reply.
    pub max_input_tokens: u32,
    /// A stream that says nothing for this long is given up.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// A whole reply takes at most this long.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Prices; unset: no cost is shown.
    #[serde(default)]
    pub prices: Option<ModelPrices>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrices {
    /// Fresh input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input written to the prompt cache.
    #[serde(default)]
    pub cache_write: f64,
    /// Input read from the prompt cache.
    #[serde(default)]
    pub cache_read: f64,
}
