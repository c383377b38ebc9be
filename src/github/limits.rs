//! GitHub's rate limits, told apart from a missing permission, which is a 403 too.
//!
//! <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::http::{announced_wait, standard_limit};

/// What GitHub asks to wait at least when a limit comes without a time.
const UNANNOUNCED: Duration = Duration::from_secs(60);

/// Reads a rate limit, primary or secondary, out of an answer of GitHub: `Retry-After`; else until
/// `x-ratelimit-reset` when nothing remains; else 60 s when the body or a 429 says that it is one.
#[must_use]
pub fn github_limit(status: StatusCode, headers: &HeaderMap, body: &str) -> Option<Duration> {
    if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return standard_limit(status, headers, body);
    }
    let nothing_remains = headers.get("x-ratelimit-remaining").is_some_and(|value| value == "0");
    if headers.contains_key(RETRY_AFTER) || nothing_remains {
        return Some(announced_wait(headers, Timestamp::now()).unwrap_or(UNANNOUNCED));
    }
    let body = body.to_ascii_lowercase();
    let says_so = ["rate limit", "abuse detection"].iter().any(|words| body.contains(words));
    (status == StatusCode::TOO_MANY_REQUESTS || says_so).then_some(UNANNOUNCED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(status: u16, headers: &[(&'static str, String)], body: &str) -> Option<u64> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        github_limit(StatusCode::from_u16(status).unwrap(), &headers, body).map(|wait| wait.as_secs())
    }

    #[test]
    fn limits_are_told_apart_from_each_other_and_from_a_missing_permission() {
        let one = |name, value: &str| [(name, value.to_owned())];
        let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes";
        assert_eq!(limit(403, &one("retry-after", "30"), secondary), Some(30));
        assert_eq!(limit(429, &one("retry-after", "7"), ""), Some(7));
        assert_eq!(limit(403, &one("x-ratelimit-remaining", "4999"), secondary), Some(60));
        let later = (Timestamp::now().as_second() + 900).to_string();
        let reset = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", later.clone())];
        assert!((890..=900).contains(&limit(403, &reset, "API rate limit exceeded").unwrap()));
        // The reset is that of the primary limit, of which enough remains.
        let busy = [("x-ratelimit-remaining", "9".to_owned()), ("x-ratelimit-reset", later)];
        assert_eq!(limit(429, &busy, ""), Some(60));
        let forbidden = "Resource not accessible by personal access token";
        assert_eq!(limit(403, &one("x-ratelimit-remaining", "4999"), forbidden), None);
        assert_eq!(limit(404, &[], secondary), None);
        assert_eq!(limit(503, &one("retry-after", "5"), ""), Some(5));
    }
}
