//! Links from a ticket to the web.

use reqwest::Method;
use serde_json::json;

use super::{Jira, JiraError};
use crate::domain::IssueKey;
use crate::rest::Call;

/// A link from a ticket to something outside Jira, e.g. its pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteLink {
    /// What makes it the same link next time; at most 255 characters.
    pub global_id: String,
    /// Where it leads.
    pub url: String,
    /// The words of the link; cut to 255 characters.
    pub title: String,
    /// The words beside it; cut to 255 characters.
    pub summary: String,
    /// Whether it is struck through, as a merged pull request is.
    pub resolved: bool,
}

impl Jira {
    /// Creates the link, or replaces the one with the same `global_id`.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn upsert_remote_link(&self, key: &IssueKey, link: &RemoteLink) -> Result<(), JiraError> {
        let cut = |text: &str| text.chars().take(255).collect::<String>();
        let call = Call::new(Method::POST, format!("the link on {key}"), "the permission Link issues")
            .at(["issue", &key.to_string(), "remotelink"])
            .json(json!({
                "globalId": link.global_id,
                "relationship": "pull request",
                "object": {
                    "url": link.url,
                    "title": cut(&link.title),
                    "summary": cut(&link.summary),
                    "status": {"resolved": link.resolved},
                },
            }))
            // The global id makes twice the same as once.
            .repeatable();
        self.send(&call).await.map(|_| ())
    }
}
