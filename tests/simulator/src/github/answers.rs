//! The documented answers to requests that fail, ready to be sent by a handler or by a fault that a test planned.
//!
//! See <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>.

use serde_json::{Value, json};

use super::state::{HOURLY_LIMIT, TokenKind, now_seconds};

/// Status, headers and body of an answer. A body of `null` is sent as no body.
pub type Parts = (u16, Vec<(String, String)>, Value);

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// An answer that is only a sentence.
#[must_use]
pub fn message(status: u16, text: &str) -> Parts {
    let body = json!({"message": text, "documentation_url": DOCUMENTATION, "status": status.to_string()});
    (status, Vec::new(), body)
}

/// 401: the token is unknown, revoked or has expired.
#[must_use]
pub fn bad_credentials() -> Parts {
    message(401, "Bad credentials")
}

/// 401: there is no token where one is needed.
#[must_use]
pub fn requires_authentication() -> Parts {
    message(401, "Requires authentication")
}

/// 403: the secondary rate limit, with `retry-after` in seconds or without it.
///
/// See <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits>.
#[must_use]
pub fn secondary_limit(retry_after: Option<u64>) -> Parts {
    let text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. \
                If you reach out to GitHub Support for help, please include the request ID.";
    let (status, mut headers, mut body) = message(403, text);
    headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
    body["documentation_url"] = json!(
        "https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
    );
    (status, headers, body)
}

/// 403: the hour's requests are used up; they come back in `reset_in` seconds.
#[must_use]
pub fn primary_limit(reset_in: u64) -> Parts {
    let (status, mut headers, body) = message(403, "API rate limit exceeded for user ID 1.");
    let resets_at = now_seconds().saturating_add_unsigned(reset_in);
    headers.extend(rate_headers(HOURLY_LIMIT, HOURLY_LIMIT, resets_at));
    (status, headers, body)
}

/// 403: the token may see the thing but not do this with it.
#[must_use]
pub fn not_accessible(by_app: bool) -> Parts {
    let who = if by_app { "integration" } else { "personal access token" };
    message(403, &format!("Resource not accessible by {who}"))
}

/// 403: the request has no `User-Agent`. GitHub answers this one in words, not JSON.
#[must_use]
pub fn missing_user_agent() -> Parts {
    let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header \
                (https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api#user-agent-required). \
                Check https://developer.github.com for other possible causes.";
    (403, vec![("content-type".to_owned(), "text/html".to_owned())], Value::String(text.to_owned()))
}

/// 404: there is no such thing, or the token may not know of it.
#[must_use]
pub fn not_found() -> Parts {
    message(404, "Not Found")
}

/// 422 with a list of errors, each with `resource`, `code` and more.
#[must_use]
pub fn validation_failed(errors: Value) -> Parts {
    let (status, headers, mut body) = message(422, "Validation Failed");
    body["errors"] = errors;
    (status, headers, body)
}

/// 422: the plan of the repository's owner has no draft pull requests.
#[must_use]
pub fn drafts_refused() -> Parts {
    message(422, "Draft pull requests are not supported in this repository.")
}

/// 422: a review was asked of somebody who is no collaborator.
#[must_use]
pub fn reviewers_refused(slug: &str) -> Parts {
    message(
        422,
        &format!(
            "Reviews may only be requested from collaborators. One or more of the users or teams you specified is \
             not a collaborator of the {slug} repository."
        ),
    )
}

/// 502: something between the client and GitHub gave up. Whether a write was done is unknown.
#[must_use]
pub fn server_error() -> Parts {
    (502, Vec::new(), json!({"message": "Server Error"}))
}

pub(super) fn lacking_right(kind: Option<TokenKind>) -> Parts {
    match kind {
        None => requires_authentication(),
        Some(kind) => not_accessible(kind == TokenKind::Installation),
    }
}

pub(super) fn rate_headers(limit: u64, used: u64, resets_at: i64) -> Vec<(String, String)> {
    [
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", limit.saturating_sub(used).to_string()),
        ("x-ratelimit-used", used.to_string()),
        ("x-ratelimit-reset", resets_at.to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
