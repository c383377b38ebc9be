//! What GitHub sends, as far as we read it. Everything may be missing.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::AccountId;
use crate::lenient::{list, or_default};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    #[serde(deserialize_with = "or_default")]
    pub(super) login: String,
}

impl User {
    pub(super) fn account(&self) -> Option<AccountId> {
        self.login.parse().ok()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    #[serde(deserialize_with = "or_default")]
    pub(super) number: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) html_url: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) title: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) body: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: String,
    #[serde(deserialize_with = "list")]
    pub(super) labels: Vec<Label>,
    #[serde(deserialize_with = "list")]
    pub(super) assignees: Vec<User>,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: Option<User>,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(super) kind: Option<IssueType>,
    #[serde(deserialize_with = "or_default")]
    pub(super) updated_at: String,
    /// There when it is a pull request.
    pub(super) pull_request: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct IssueType {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
}

/// A label, which some answers give by its name alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Label {
    Name(String),
    Full { name: String },
}

impl Label {
    pub(super) fn into_name(self) -> String {
        match self {
            Self::Name(name) | Self::Full { name } => name,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: Option<User>,
    #[serde(deserialize_with = "or_default")]
    pub(super) body: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) created_at: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) updated_at: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pull {
    #[serde(deserialize_with = "or_default")]
    pub(super) number: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) html_url: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) title: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) body: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) draft: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) merged_at: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: Option<User>,
    #[serde(deserialize_with = "list")]
    pub(super) labels: Vec<Label>,
    #[serde(deserialize_with = "or_default")]
    pub(super) head: End,
    #[serde(deserialize_with = "or_default")]
    pub(super) base: End,
}

/// One end of a pull request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct End {
    #[serde(rename = "ref", deserialize_with = "or_default")]
    pub(super) branch: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) sha: String,
    /// Null when a fork is gone.
    #[serde(deserialize_with = "or_default")]
    pub(super) repo: Option<Repo>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Repo {
    #[serde(deserialize_with = "or_default")]
    pub(super) full_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) html_url: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) default_branch: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) archived: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) private: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) size: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) permissions: Option<RepoPermissions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RepoPermissions {
    #[serde(deserialize_with = "or_default")]
    pub(super) push: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Branch {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) commit: Commit,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Commit {
    #[serde(deserialize_with = "or_default")]
    pub(super) sha: String,
}

/// A file; a folder is a list instead.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) encoding: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) content: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserPermission {
    #[serde(deserialize_with = "or_default")]
    pub(super) permission: String,
}

/// The body of a refusal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(deserialize_with = "or_default")]
    message: String,
    #[serde(deserialize_with = "list")]
    errors: Vec<Problem>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Problem {
    Words(String),
    Field {
        #[serde(default, deserialize_with = "or_default")]
        field: String,
        #[serde(default, deserialize_with = "or_default")]
        code: String,
        #[serde(default, deserialize_with = "or_default")]
        message: String,
    },
}

impl Refusal {
    pub(super) fn read(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_else(|_| Self { message: body.to_owned(), errors: Vec::new() })
    }

    /// All that it says, in one line.
    pub(super) fn message(&self) -> String {
        let problem = |problem: &Problem| match problem {
            Problem::Words(words) => words.clone(),
            Problem::Field { message, .. } if !message.is_empty() => message.clone(),
            Problem::Field { field, code, .. } => format!("{field} {code}"),
        };
        let all: Vec<String> = std::iter::once(self.message.clone())
            .chain(self.errors.iter().map(problem))
            .filter(|words| !words.trim().is_empty())
            .collect();
        let line = all.join("; ");
        let line: Vec<&str> = line.split_whitespace().collect();
        line.join(" ").chars().take(300).collect()
    }

    pub(super) fn fields(&self) -> Vec<String> {
        let field = |problem: &Problem| match problem {
            Problem::Field { field, .. } if !field.is_empty() => Some(field.clone()),
            _ => None,
        };
        self.errors.iter().filter_map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_refusal_gives_one_line() {
        let read = |body: &str| Refusal::read(body).message();
        let body = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","field":"head","code":"invalid"},
            {"code":"custom","message":"No commits between main and ai/PROJ-1"},"Words"]}"#;
        assert_eq!(
            read(body),
            "Validation Failed; head invalid; No commits between main and ai/PROJ-1; Words"
        );
        assert_eq!(Refusal::read(body).fields(), ["head"]);
        assert_eq!(read("<html>\n Unicorn"), "<html> Unicorn");
        assert_eq!(read(r#"{"message":null,"errors":"odd"}"#), "");
    }
}
