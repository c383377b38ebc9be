//! Newtypes for every identifier, so that a key is never mistaken for a branch.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::RepoSlug;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    /// What was given, cut to a readable length.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

impl InvalidId {
    pub(super) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(120).collect(), expected }
    }
}

/// Implements `Display` and string (de)serialisation for an identifier that has `FromStr`.
macro_rules! string_serde {
    ($name:ty) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use string_serde;

/// The identity of a task and of the run it becomes: a ULID, so ids sort by the time they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Ulid);

impl TaskId {
    /// A new id, made from the clock and a random part.
    #[must_use]
    pub fn generate() -> Self {
        Self(Ulid::generate())
    }

    /// When it was made, to the millisecond: the first half of a ULID.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        let milliseconds = i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new(text, "a task id (a ULID, e.g. 01K9ZW4R7M1S8T3V5X7Z9B1D3F)");
        Ulid::from_string(text).map(Self).map_err(|_| invalid())
    }
}
string_serde!(TaskId);

/// The key of a Jira issue, e.g. `PROJ-123`: a project of capitals, digits and `_`, then a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssueKey {
    project: String,
    number: u64,
}

impl IssueKey {
    /// The part before the dash.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The part behind the dash.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for IssueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.project, self.number)
    }
}

impl FromStr for IssueKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new(text, "a Jira issue key, e.g. PROJ-123");
        let (project, number) = text.rsplit_once('-').ok_or_else(invalid)?;
        let starts_well = project.starts_with(|c: char| c.is_ascii_uppercase());
        let known_letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if project.len() > 64 || !starts_well || !project.chars().all(known_letters) {
            return Err(invalid());
        }
        let number = positive(number).ok_or_else(invalid)?;
        Ok(Self { project: project.to_owned(), number })
    }
}
string_serde!(IssueKey);

/// The key of a ticket: `PROJ-123` in Jira, `owner/repo#12` on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TicketKey {
    /// A Jira issue.
    Jira(IssueKey),
    /// A GitHub issue.
    GitHub {
        /// The repository that holds the issue.
        repository: RepoSlug,
        /// The issue's number, from 1.
        number: u64,
    },
}

impl fmt::Display for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jira(key) => key.fmt(f),
            Self::GitHub { repository, number } => write!(f, "{repository}#{number}"),
        }
    }
}

impl FromStr for TicketKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new(text, "a ticket key, e.g. PROJ-123 or owner/repo#12");
        if let Some((slug, number)) = text.split_once('#') {
            let repository = slug.parse().map_err(|_| invalid())?;
            let number = positive(number).ok_or_else(invalid)?;
            return Ok(Self::GitHub { repository, number });
        }
        text.parse().map(Self::Jira).map_err(|_| invalid())
    }
}
string_serde!(TicketKey);

/// A decimal number above zero, written without sign or leading zero.
fn positive(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// A git branch name without `refs/heads/`, by the rules of `git check-ref-format --branch`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchName(String);

impl BranchName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full reference, `refs/heads/<name>`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BranchName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        let bad = text.is_empty()
            || text.len() > 200
            || text.starts_with('-')
            || text.ends_with('.')
            || text == "@"
            || text == "HEAD"
            || text.contains("..")
            || text.contains("@{")
            || text.chars().any(forbidden)
            || text.split('/').any(bad_part);
        if bad {
            return Err(InvalidId::new(text, "a branch name (see `git check-ref-format`), e.g. main"));
        }
        Ok(Self(text.to_owned()))
    }
}
string_serde!(BranchName);

/// A full git object id of a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(String);

impl CommitId {
    /// All digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !matches!(text.len(), 40 | 64) || !text.bytes().all(hex) {
            return Err(InvalidId::new(text, "a full commit id (40 or 64 hexadecimal digits)"));
        }
        Ok(Self(text.to_owned()))
    }
}
string_serde!(CommitId);

/// A person or a bot as the service knows it: a Jira account id or a GitHub login.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(String);

impl AccountId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fine = |c: char| !c.is_control() && !c.is_whitespace();
        if text.is_empty() || text.len() > 255 || !text.chars().all(fine) {
            return Err(InvalidId::new(text, "an account (a Jira account id or a GitHub login)"));
        }
        Ok(Self(text.to_owned()))
    }
}
string_serde!(AccountId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_keys_of_both_services_round_trip() {
        for text in ["PROJ-123", "A1_B-1", "acme/shop#12", "a.b/c_d-e#9"] {
            let key: TicketKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_ticket_key_is_refused_by_name() {
        for text in [
            "", "PROJ", "proj-1", "PROJ-0", "PROJ-01", "PROJ--1", "PROJ-+1", "1A-2", "a/b#0", "a#1", "#1",
            "a/b/c#1", "../b#1",
        ] {
            let error = text.parse::<TicketKey>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }

    #[test]
    fn branch_names_follow_the_rules_of_git() {
        for good in ["main", "ai/PROJ-1", "feature/x.y"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        for bad in
            ["", "-x", "a..b", "a b", "a/.b", "a.lock", "a/", "/a", "a~1", "@", "a@{1}", "a\\b", "HEAD", "x."]
        {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn commit_ids_are_full_and_lower_case() {
        assert!("a".repeat(40).parse::<CommitId>().is_ok());
        assert!("A".repeat(40).parse::<CommitId>().is_err());
        assert!("a".repeat(39).parse::<CommitId>().is_err());
    }
}
