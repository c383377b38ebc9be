//! What Jira sends, as far as we read it. Everything may be missing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::AccountId;
use crate::lenient::{list, or_default};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct User {
    #[serde(deserialize_with = "or_default")]
    pub(super) account_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) display_name: String,
}

impl User {
    pub(super) fn account(&self) -> Option<AccountId> {
        self.account_id.parse().ok()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) key: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) fields: Fields,
    pub(super) properties: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    #[serde(deserialize_with = "or_default")]
    pub(super) summary: String,
    pub(super) description: Value,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: Named,
    #[serde(deserialize_with = "list")]
    pub(super) labels: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub(super) components: Vec<Named>,
    #[serde(deserialize_with = "or_default")]
    pub(super) assignee: Option<User>,
    #[serde(deserialize_with = "or_default")]
    pub(super) reporter: Option<User>,
    #[serde(deserialize_with = "or_default")]
    pub(super) issuetype: Named,
    #[serde(deserialize_with = "or_default")]
    pub(super) updated: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct CommentPage {
    #[serde(deserialize_with = "or_default")]
    pub(super) total: Option<usize>,
    #[serde(deserialize_with = "list")]
    pub(super) comments: Vec<Comment>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) author: Option<User>,
    pub(super) body: Value,
    #[serde(deserialize_with = "or_default")]
    pub(super) created: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) updated: String,
    #[serde(deserialize_with = "list")]
    pub(super) properties: Vec<Property>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Property {
    #[serde(deserialize_with = "or_default")]
    pub(super) key: String,
    pub(super) value: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transitions {
    #[serde(deserialize_with = "list")]
    pub(super) transitions: Vec<Transition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Transition {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) to: Named,
    #[serde(deserialize_with = "or_default")]
    pub(super) is_available: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub(super) fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Field {
    #[serde(deserialize_with = "or_default")]
    pub(super) required: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) has_default_value: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "list")]
    pub(super) allowed_values: Vec<Named>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SearchPage {
    #[serde(deserialize_with = "list")]
    pub(super) issues: Vec<Issue>,
    #[serde(deserialize_with = "or_default")]
    pub(super) next_page_token: Option<String>,
}

/// The body of a refusal, of Jira itself or of Atlassian's gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Refusal {
    #[serde(deserialize_with = "list")]
    error_messages: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) errors: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    message: String,
}

impl Refusal {
    pub(super) fn read(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_else(|_| Self { message: body.to_owned(), ..Self::default() })
    }

    /// All that it says, in one line.
    pub(super) fn message(&self) -> String {
        let fields = self.errors.iter().map(|(field, message)| format!("{field}: {message}"));
        let all: Vec<String> = self
            .error_messages
            .iter()
            .cloned()
            .chain(fields)
            .chain((!self.message.is_empty()).then(|| self.message.clone()))
            .collect();
        let line = all.join("; ");
        let line: Vec<&str> = line.split_whitespace().collect();
        line.join(" ").chars().take(300).collect()
    }
}

/// A moment as Jira writes it: `2026-01-30T12:00:00.000+0000`.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    text.parse().or_else(|_| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_cloud_and_data_center_are_read() {
        for text in ["2026-01-30T12:00:00.000+0000", "2026-01-30T13:00:00.000+0100", "2026-01-30T12:00:00Z"] {
            assert_eq!(moment(text), "2026-01-30T12:00:00Z".parse().ok(), "{text}");
        }
    }

    #[test]
    fn every_form_of_refusal_gives_one_line() {
        let read = |body: &str| Refusal::read(body).message();
        assert_eq!(
            read(r#"{"errorMessages":["No."],"errors":{"team":"is required"}}"#),
            "No.; team: is required"
        );
        assert_eq!(read(r#"{"code":401,"message":"Unauthorized"}"#), "Unauthorized");
        assert_eq!(read("<html>\n  Gone"), "<html> Gone");
        assert_eq!(read(""), "");
    }
}
