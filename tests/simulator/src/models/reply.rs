//! What a model replies, and how that goes wrong.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tokens;

/// A reply and its end.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Why it ended there.
    pub stop_reason: StopReason,
    /// Token counts that replace the estimated ones.
    pub usage: UsageSeed,
    /// What goes wrong with it.
    pub failure: Option<Failure>,
    /// A thinking block before the text; Anthropic and Ollama.
    pub thinking: Option<String>,
}

/// Why a reply ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It is complete.
    #[default]
    EndTurn,
    /// Cut at the most tokens of a reply: half of the text is given.
    MaxTokens,
    /// A stop sequence was met.
    StopSequence,
    /// The model will not.
    Refusal,
    /// The prompt and the reply fill the context.
    ModelContextWindowExceeded,
    /// To be sent back as it is, so that the model goes on. Anthropic only.
    PauseTurn,
}

/// Token counts of a scripted reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsageSeed {
    /// Of the prompt, uncached.
    pub input_tokens: Option<u64>,
    /// Of the reply.
    pub output_tokens: Option<u64>,
    /// Leave out everything about the prompt cache, as some gateways do.
    pub without_cache_fields: bool,
    /// Leave out the usage.
    pub absent: bool,
}

/// How a reply goes wrong. Of a reply that is not streamed the hung, cut and truncated answers are whole-body ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Failure {
    /// So many events, then nothing, until the client gives up.
    HungStream {
        /// Events before the silence.
        after_events: usize,
    },
    /// The stream ends, cleanly for HTTP, in the middle of an event.
    TruncatedStream {
        /// Whole events before.
        after_events: usize,
    },
    /// The connection is cut in the middle of an event.
    CutStream {
        /// Whole events before.
        after_events: usize,
    },
    /// After 200 and so many events the stream says that it failed.
    ErrorEvent {
        /// Whole events before.
        after_events: usize,
        /// The type, e.g. `overloaded_error`.
        kind: String,
    },
    /// Not a reply but this status, in the API's own form.
    Status {
        /// E.g. 429, 500, 529.
        code: u16,
        /// `Retry-After` in seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
}

impl Reply {
    /// A complete reply.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A reply that is complete but for its reason to stop.
    #[must_use]
    pub fn stopped(text: impl Into<String>, stop_reason: StopReason) -> Self {
        Self { text: text.into(), stop_reason, ..Self::default() }
    }

    /// A reply that goes wrong.
    #[must_use]
    pub fn failing(text: impl Into<String>, failure: Failure) -> Self {
        Self { text: text.into(), failure: Some(failure), ..Self::default() }
    }

    /// The same, cut where the request or the script wants it cut.
    pub(super) fn limited(mut self, max_tokens: Option<u64>) -> Self {
        let length = self.text.chars().count();
        let asked = max_tokens.and_then(|tokens| usize::try_from(tokens.saturating_mul(4)).ok());
        if self.stop_reason == StopReason::MaxTokens {
            self.text = self.text.chars().take(length / 2).collect();
        }
        if asked.is_some_and(|most| self.text.chars().count() > most) {
            self.stop_reason = StopReason::MaxTokens;
            self.text = self.text.chars().take(asked.unwrap_or(length)).collect();
        }
        self
    }

    pub(super) fn output_tokens(&self) -> u64 {
        self.usage.output_tokens.unwrap_or_else(|| tokens(&self.text))
    }

    /// The text in pieces, as a stream sends it.
    pub(super) fn pieces(&self) -> Vec<String> {
        let letters: Vec<char> = self.text.chars().collect();
        letters.chunks(48).map(|piece| piece.iter().collect()).collect()
    }
}

/// Computes a reply from the prompt.
#[derive(Clone)]
pub struct Compute(Arc<dyn Fn(&str) -> Reply + Send + Sync>);

impl Compute {
    pub(super) fn new(compute: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self(Arc::new(compute))
    }

    pub(super) fn run(&self, prompt: &str) -> Reply {
        (self.0)(prompt)
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Compute")
    }
}
