//! How the product finds its own comment again, so that it is updated and not repeated.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InvalidId;
use super::ids::string_serde;

/// The identity of one of our comments on a ticket or a pull request: its kind and its round. There is one
/// comment with it, whoever writes at once and however often.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommentMarker {
    kind: String,
    round: String,
}

impl CommentMarker {
    /// How long a kind or a round may be, in characters; the rest is cut.
    const PART_LIMIT: usize = 80;

    /// The marker of this kind and round, e.g. `result` and `1`. Only letters, digits, `.` and `_` stay, and `-` where
    /// it is not doubled; all else becomes `_`, so that a marker cannot end the HTML comment it stands in.
    #[must_use]
    pub fn new(kind: &str, round: &str) -> Self {
        Self { kind: safe(kind), round: safe(round) }
    }

    /// What the comment is for.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which of its kind it is.
    #[must_use]
    pub fn round(&self) -> &str {
        &self.round
    }

    /// Reads what [`CommentMarker::key`] wrote.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        let (kind, round) = key.split_once(':')?;
        let marker = Self::new(kind, round);
        (marker.key() == key).then_some(marker)
    }

    /// `<kind>:<round>`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind, self.round)
    }
}

fn safe(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars().take(CommentMarker::PART_LIMIT) {
        let single_dash = letter == '-' && !safe.is_empty() && !safe.ends_with('-');
        let fine = letter.is_ascii_alphanumeric() || letter == '.' || letter == '_' || single_dash;
        safe.push(if fine { letter } else { '_' });
    }
    if safe.ends_with('-') {
        safe.pop();
        safe.push('_');
    }
    if safe.is_empty() {
        safe.push('_');
    }
    safe
}

impl fmt::Display for CommentMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jira-agent:{}:{}", self.kind, self.round)
    }
}

/// A comment's number, unique within its service. The lowest of several is the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommentId(u64);

impl From<u64> for CommentId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for CommentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CommentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self).map_err(|_| InvalidId::new(text, "a comment's number, e.g. 10042"))
    }
}
string_serde!(CommentId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_marker_reads_as_the_contract_says() {
        let marker = CommentMarker::new("result", "01K9ZW4R7M1S8T3V5X7Z9B1D3F");
        assert_eq!(marker.to_string(), "jira-agent:result:01K9ZW4R7M1S8T3V5X7Z9B1D3F");
        assert_eq!(CommentMarker::new("fix-checks", "2").key(), "fix-checks:2");
        assert_eq!(CommentMarker::from_key(&marker.key()), Some(marker));
        assert_eq!(CommentMarker::from_key("no marker: at all -->"), None);
    }

    proptest! {
        #[test]
        fn no_marker_can_end_an_html_comment(kind in ".{0,100}", round in "[-> :a]{0,12}") {
            let marker = CommentMarker::new(&kind, &round).to_string();
            prop_assert!(!marker.contains("--") && !marker.ends_with('-') && !marker.contains('>'), "{}", marker);
            prop_assert_eq!(marker.matches(':').count(), 2);
        }
    }
}
