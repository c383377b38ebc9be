//! Answers of Jira Cloud's rate limits.
//!
//! <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>

use jiff::{SignedDuration, Timestamp};

use crate::fault::Answer;

/// `RateLimit-Reason`: too many requests of one kind in a short time.
pub const BURST: &str = "jira-burst-based";
/// `RateLimit-Reason`: too many writes to one issue.
pub const PER_ISSUE_WRITES: &str = "jira-per-issue-on-write";
/// `RateLimit-Reason`: the points of the hour are used up.
pub const QUOTA: &str = "jira-quota-tenant-based";

/// 429 with a reason, and with `Retry-After` in seconds or without.
#[must_use]
pub fn rate_limited(reason: &str, retry_after: Option<u32>) -> Answer {
    let reset = Timestamp::now() + SignedDuration::from_secs(retry_after.unwrap_or(60).into());
    let answer = Answer::new(429)
        .header("RateLimit-Reason", reason)
        .header("X-RateLimit-Limit", "100")
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", reset.strftime("%Y-%m-%dT%H:%MZ").to_string())
        .header("X-RateLimit-NearLimit", "true")
        .body(r#"{"errorMessages":["Rate limit exceeded."],"errors":{}}"#);
    match retry_after {
        Some(seconds) => answer.header("Retry-After", seconds.to_string()),
        None => answer,
    }
}
