use std::time::Duration;

/// Why the model gave no reply. A reply that was cut or refused is not an error, see [`super::Stop`].
///
/// What a service says about itself is in `detail`, cut and without the key or the prompt.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The caller's token was cancelled.
    #[error("the question to the model was cancelled")]
    Cancelled,
    /// No connection, or none that lasted until the answer began.
    #[error("{host} cannot be reached; check model.base_url, the proxy and the network")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The service went silent.
    #[error("{host} said nothing for {after:?}; a slow model needs a longer model.idle_timeout")]
    Stalled {
        /// Host and port.
        host: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The whole reply took too long.
    #[error("{host} did not finish its reply within {after:?}; a slow model needs a longer model.timeout")]
    TimedOut {
        /// Host and port.
        host: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The reply began and broke off.
    #[error("the reply of {host} broke off: {why}")]
    Interrupted {
        /// Host and port.
        host: String,
        /// What happened.
        why: String,
    },
    /// The service asks for a longer wait than a request may take (`http.retry_budget`).
    #[error("{host} asks to wait {retry_after:?}")]
    RateLimited {
        /// Host and port.
        host: String,
        /// How long.
        retry_after: Duration,
    },
    /// The service is overloaded or has failed.
    #[error("{host} cannot answer now ({status}): {detail}")]
    Unavailable {
        /// Host and port.
        host: String,
        /// The HTTP status, or the one that an error within the stream stands for.
        status: u16,
        /// What the service says.
        detail: String,
    },
    /// The key is wrong or may not do this.
    #[error("{host} refuses access ({status}): {detail}; check model.api_key and what it may use")]
    Unauthorized {
        /// Host and port.
        host: String,
        /// 401 or 403.
        status: u16,
        /// What the service says.
        detail: String,
    },
    /// The account has no money or no quota left.
    #[error("{host} asks for payment: {detail}; check the account's credit and limits")]
    Billing {
        /// Host and port.
        host: String,
        /// What the service says.
        detail: String,
    },
    /// The service does not know the model, or the address is not that of its API.
    #[error("{host} does not know the model `{name}`: {detail}; check model.name and model.base_url")]
    ModelNotFound {
        /// Host and port.
        host: String,
        /// The configured name.
        name: String,
        /// What the service says.
        detail: String,
    },
    /// The model would have read, or has read, only a part of the prompt.
    #[error(
        "{host} can read {window} tokens of a prompt of about {prompt}; raise model.max_input_tokens as far as the \
         model's own context goes, or lower worker.context_files and worker.context_lines"
    )]
    PromptTruncated {
        /// Host and port.
        host: String,
        /// The prompt's tokens by our estimate.
        prompt: u64,
        /// How many of them fit, or were read.
        window: u64,
    },
    /// The service does not accept the request.
    #[error("{host} refuses the request ({status}): {detail}")]
    Rejected {
        /// Host and port.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What the service says.
        detail: String,
    },
}

impl ModelError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Cancelled
            | Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. } => true,
            Self::Unauthorized { .. }
            | Self::Billing { .. }
            | Self::ModelNotFound { .. }
            | Self::PromptTruncated { .. }
            | Self::Rejected { .. } => false,
        }
    }

    /// How long the service asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
