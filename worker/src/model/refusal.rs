//! What an answer from 400 means, in one place for all services.

use std::time::Duration;

use jiff::Timestamp;
use jira_agent::http::announced_wait;
use jira_agent::retry::Verdict;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{ModelError, Request};

/// The wait after a rate limit that names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// The most letters of a service's message that are shown.
const DETAIL_LIMIT: usize = 300;
/// A stretch of the prompt of this many letters gives it away.
const ECHO_LENGTH: usize = 40;

/// How one try ended that brought no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The prompt is longer than the model reads: an outcome, not an error.
    ContextExceeded,
    /// Everything else.
    Failed {
        /// For the caller.
        error: ModelError,
        /// For the next try.
        verdict: Verdict,
    },
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let verdict = if error.is_transient() { Verdict::Again } else { Verdict::Stop };
        Self::Failed { error, verdict }
    }
}

pub(super) fn verdict(failure: &Failure) -> Verdict {
    match failure {
        Failure::ContextExceeded => Verdict::Stop,
        Failure::Failed { verdict, .. } => *verdict,
    }
}

/// What a service says when it refuses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The machine's word, e.g. `invalid_request_error` or `context_length_exceeded`; may be empty.
    pub code: String,
    /// The sentence for people.
    pub message: String,
}

impl Complaint {
    /// Reads the body of an answer: `{"error": {…}}` (Anthropic, OpenAI), `{"error": "…"}` (Ollama) and what
    /// gateways make of it. A body that is not JSON is its own message.
    pub fn of_body(body: &str) -> Self {
        serde_json::from_str(body).map_or_else(
            |_| Self { code: String::new(), message: body.to_owned() },
            |value| Self::of_value(&value),
        )
    }

    /// The same for a body that is read already.
    pub fn of_value(value: &Value) -> Self {
        let error = value.get("error").unwrap_or(value);
        let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        // OpenAI's `code` says more than its `type`; Anthropic has only the latter.
        let code = if word("code").is_empty() { word("type") } else { word("code") };
        let message = error.as_str().unwrap_or_else(|| {
            // FastAPI's `detail` may be a list that repeats the request; then it is not a text.
            let message = word("message");
            if message.is_empty() { word("detail") } else { message }
        });
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    /// Whether the prompt is longer than the model reads. Anthropic has no code for this, so its sentence decides.
    fn says_too_long(&self, status: u16) -> bool {
        let known = [
            "prompt is too long",
            "context limit",
            "context length",
            "context window",
            "context size",
            "input is too long",
        ];
        let message = self.message.to_lowercase();
        let codes = ["context_length_exceeded", "exceed_context_size_error", "request_too_large"];
        codes.contains(&self.code.as_str())
            || (matches!(status, 400 | 413) && known.iter().any(|part| message.contains(part)))
    }

    /// Whether the account cannot pay. Anthropic says so with 400 or 402, OpenAI with 429.
    fn says_unpaid(&self, status: u16) -> bool {
        let codes = ["billing_error", "insufficient_quota", "billing_hard_limit_reached"];
        status == 402
            || codes.contains(&self.code.as_str())
            || (status == 400 && self.message.contains("credit balance is too low"))
    }

    /// The message in one line for people: cut, without the key, and left out when it repeats the prompt.
    fn detail(&self, key: &str, request: &Request) -> String {
        let mut text = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        if !key.is_empty() {
            text = text.replace(key, "***");
        }
        let letters: Vec<char> = text.chars().take(DETAIL_LIMIT).collect();
        if repeats_prompt(&letters, request) {
            return "the message repeats the prompt and is left out".to_owned();
        }
        if letters.is_empty() {
            return if self.code.is_empty() {
                "no reason given".to_owned()
            } else {
                self.code.chars().take(DETAIL_LIMIT).collect()
            };
        }
        letters.into_iter().collect()
    }
}

fn repeats_prompt(letters: &[char], request: &Request) -> bool {
    let texts = || request.messages.iter().map(|message| &message.text).chain([&request.system]);
    (0..=letters.len().saturating_sub(ECHO_LENGTH))
        .step_by(ECHO_LENGTH / 4)
        .filter_map(|start| letters.get(start..start + ECHO_LENGTH))
        .map(|window| window.iter().collect::<String>())
        .any(|window| texts().any(|text| text.contains(&window)))
}

/// What is known of the service and of the question when a refusal is judged.
pub(super) struct Case<'a> {
    pub host: &'a str,
    pub model: &'a str,
    pub key: &'a str,
    pub request: &'a Request,
}

impl Case<'_> {
    /// What a refusal means, by its status, its headers and its words; `x-should-retry` is obeyed as the services'
    /// own clients do.
    pub fn judge(&self, status: u16, headers: &HeaderMap, complaint: &Complaint) -> Failure {
        if complaint.says_too_long(status) {
            return Failure::ContextExceeded;
        }
        let wait = announced_wait(headers, Timestamp::now());
        let error = self.error(status, wait, complaint);
        let verdict = match headers.get("x-should-retry").map(|value| value.as_bytes()) {
            Some(b"false") => Verdict::Stop,
            Some(b"true") => wait.map_or(Verdict::Again, Verdict::AgainAfter),
            _ if error.is_transient() => wait.map_or(Verdict::Again, Verdict::AgainAfter),
            _ => Verdict::Stop,
        };
        Failure::Failed { error, verdict }
    }

    fn error(&self, status: u16, wait: Option<Duration>, complaint: &Complaint) -> ModelError {
        let host = self.host.to_owned();
        let detail = complaint.detail(self.key, self.request);
        if complaint.says_unpaid(status) {
            return ModelError::Billing { host, detail };
        }
        match (status, wait) {
            (401 | 403, _) => ModelError::Unauthorized { host, status, detail },
            (404, _) => ModelError::ModelNotFound { host, name: self.model.to_owned(), detail },
            (429, None) => ModelError::RateLimited { host, retry_after: DEFAULT_WAIT },
            (429 | 503 | 529, Some(retry_after)) => ModelError::RateLimited { host, retry_after },
            (408 | 409 | 500.., _) => ModelError::Unavailable { host, status, detail },
            _ => ModelError::Rejected { host, status, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;

    fn request(text: &str) -> Request {
        Request {
            system: String::new(),
            messages: vec![Message::user(text)],
            cache: false,
            max_output_tokens: 10,
        }
    }

    fn judged(status: u16, body: &str, headers: &[(&'static str, &str)]) -> Failure {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let case = Case {
            host: "model.example",
            model: "big",
            key: "sk-secret-key",
            request: &request("the prompt holds the customer's private source code, line by line"),
        };
        case.judge(status, &headers, &Complaint::of_body(body))
    }

    fn error(failure: Failure) -> (String, Verdict) {
        match failure {
            Failure::Failed { error, verdict } => (error.to_string(), verdict),
            Failure::ContextExceeded => panic!("an outcome"),
        }
    }

    #[test]
    fn a_prompt_that_is_too_long_is_an_outcome_in_every_dialect() {
        for (status, body) in [
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"…","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            ),
            (400, r#"{"message":"This model's maximum context length is 8192 tokens.","code":400}"#),
            (
                400,
                r#"{"error":"the prompt is longer than the context length currently available to the model"}"#,
            ),
            (413, r#"{"error":{"type":"request_too_large","message":"prompt is too long"}}"#),
        ] {
            assert!(matches!(judged(status, body, &[]), Failure::ContextExceeded), "{body}");
        }
    }

    #[test]
    fn permanent_refusals_name_the_setting_to_check() {
        let body = r#"{"error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
        insta::assert_snapshot!(error(judged(401, body, &[])).0, @"model.example refuses access (401): invalid x-api-key; check model.api_key and what it may use");
        let body = r#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}"#;
        insta::assert_snapshot!(error(judged(429, body, &[])).0, @"model.example asks for payment: You exceeded your current quota; check the account's credit and limits");
        let body = r#"{"error":"model 'big' not found"}"#;
        insta::assert_snapshot!(error(judged(404, body, &[])).0, @"model.example does not know the model `big`: model 'big' not found; check model.name and model.base_url");
        let body = r#"{"error":{"type":"invalid_request_error","message":"temperature: not supported"}}"#;
        insta::assert_snapshot!(error(judged(400, body, &[])).0, @"model.example refuses the request (400): temperature: not supported");
        for status in [401, 402, 403, 404, 400, 422] {
            assert_eq!(error(judged(status, "", &[])).1, Verdict::Stop, "{status}");
        }
    }

    #[test]
    fn passing_refusals_are_tried_again_when_the_service_says_so() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            assert_eq!(error(judged(status, "", &[])).1, Verdict::Again, "{status}");
            let (message, verdict) = error(judged(status, "", &[("retry-after", "7")]));
            assert_eq!(verdict, Verdict::AgainAfter(Duration::from_secs(7)));
            let limited = matches!(status, 429 | 503 | 529);
            assert_eq!(message == "model.example asks to wait 7s", limited, "{message}");
        }
        let millis = error(judged(529, "", &[("retry-after-ms", "1500"), ("retry-after", "9")])).1;
        assert_eq!(millis, Verdict::AgainAfter(Duration::from_millis(1500)));
        assert_eq!(error(judged(529, "", &[("x-should-retry", "false")])).1, Verdict::Stop);
        assert_eq!(error(judged(400, "", &[("x-should-retry", "true")])).1, Verdict::Again);
    }

    #[test]
    fn a_message_is_shown_cut_without_the_key_and_never_with_the_prompt() {
        let (message, _) = error(judged(401, r#"{"error":{"message":"bad key sk-secret-key"}}"#, &[]));
        assert!(message.contains("bad key ***"), "{message}");
        let echo = r#"{"error":{"message":"cannot parse: the prompt holds the customer's private source code, line by line"}}"#;
        assert!(!error(judged(400, echo, &[])).0.contains("private"));
        let fast_api = r#"{"detail":[{"input":"the prompt"}]}"#;
        assert!(error(judged(422, fast_api, &[])).0.contains("no reason given"));
        let long = format!("<html>{}</html>", "x ".repeat(4000));
        assert!(error(judged(502, &long, &[])).0.len() < 400);
    }
}
