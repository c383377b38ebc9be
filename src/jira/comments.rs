//! Comments: all pages, and our own by their property.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Jira, JiraError, PROPERTY, adf, wire};
use crate::domain::{AccountId, CommentId, CommentMarker, IssueKey};
use crate::rest::Call;
use crate::sticky::{Board, Own, Trouble, upsert};

/// Comments in one page; Jira allows up to 5,000 on an issue.
const PAGE: usize = 100;
const PAGES: usize = 100;

impl Jira {
    /// Makes the ticket have exactly one comment of ours with this marker and this text, and says which. Two writers
    /// at once end with one comment.
    ///
    /// On a service desk it is an internal comment, which customers do not see.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn upsert_comment(
        &self,
        key: &IssueKey,
        marker: &CommentMarker,
        body_markdown: &str,
    ) -> Result<CommentId, JiraError> {
        let body = self.rich_text(body_markdown);
        let board = IssueBoard {
            jira: self,
            key,
            marker: marker.key(),
            account: self.myself().await?.account,
            text: adf::to_markdown(&body),
            body,
        };
        upsert(&board).await
    }

    /// All comments, with their properties.
    pub(super) async fn comments(&self, key: &IssueKey) -> Result<Vec<wire::Comment>, JiraError> {
        let mut all: Vec<wire::Comment> = Vec::new();
        for _ in 0..PAGES {
            let call = Call::get(format!("the comments of {key}"), "the permission Browse projects")
                .at(["issue", &key.to_string(), "comment"])
                .query("startAt", all.len())
                .query("maxResults", PAGE)
                .query("orderBy", "created")
                .query("expand", "properties");
            let page: wire::CommentPage = self.read(&call).await?;
            let is_empty = page.comments.is_empty();
            all.extend(page.comments);
            if is_empty || page.total.is_none_or(|total| all.len() >= total) {
                return Ok(all);
            }
        }
        tracing::warn!(ticket.key = %key, "the ticket has more than {} comments; the rest is not read", all.len());
        Ok(all)
    }
}

/// Our comments with one marker on one issue.
struct IssueBoard<'jira> {
    jira: &'jira Jira,
    key: &'jira IssueKey,
    marker: String,
    account: AccountId,
    body: Value,
    /// The body as it reads, to compare: Jira adds attributes of its own to what it stores.
    text: String,
}

impl IssueBoard<'_> {
    fn call(&self, method: Method, grant: &'static str) -> Call {
        let what = format!("the comment {} on {}", self.marker, self.key);
        Call::new(method, what, grant).at(["issue", &self.key.to_string(), "comment"])
    }

    fn has_marker(&self, comment: &wire::Comment) -> bool {
        let author = comment.author.as_ref().and_then(wire::User::account);
        author.as_ref() == Some(&self.account)
            && comment
                .properties
                .iter()
                .any(|property| property.key == PROPERTY && property.value["marker"] == self.marker.as_str())
    }
}

impl Board for IssueBoard<'_> {
    type Error = JiraError;

    async fn own(&self) -> Result<Vec<Own>, JiraError> {
        let comments = self.jira.comments(self.key).await?;
        let own = comments.iter().filter(|comment| self.has_marker(comment));
        Ok(own
            .filter_map(|comment| {
                Some(Own {
                    id: comment.id.parse().ok()?,
                    right: adf::to_markdown(&comment.body) == self.text,
                })
            })
            .collect())
    }

    async fn create(&self) -> Result<CommentId, JiraError> {
        let call =
            self.call(Method::POST, "the permission Add comments (scope write:jira-work)").json(json!({
                "body": self.body,
                "properties": [
                    {"key": PROPERTY, "value": {"marker": self.marker}},
                    // What makes a comment internal on a service desk; elsewhere it means nothing.
                    {"key": "sd.public.comment", "value": {"internal": true}},
                ],
            }));
        let comment: wire::Comment = self.jira.read(&call).await?;
        comment
            .id
            .parse()
            .map_err(|_| JiraError::unexpected(&call, format!("the new comment has the id `{}`", comment.id)))
    }

    async fn update(&self, id: CommentId) -> Result<(), JiraError> {
        // Properties that are not sent stay.
        let call = self
            .call(Method::PUT, "the permission Edit own comments")
            .at([id])
            .json(json!({"body": self.body}));
        self.jira.send(&call).await.map(|_| ())
    }

    async fn delete(&self, id: CommentId) -> Result<(), JiraError> {
        let call = self.call(Method::DELETE, "the permission Delete own comments").at([id]);
        self.jira.send(&call).await.map(|_| ())
    }

    fn trouble(error: &JiraError) -> Trouble {
        match error {
            error if error.is_ambiguous() => Trouble::Ambiguous,
            JiraError::NotFound { .. } => Trouble::Gone,
            JiraError::Forbidden { .. } => Trouble::Forbidden,
            _ => Trouble::Other,
        }
    }

    fn restless(&self) -> JiraError {
        JiraError::unexpected(&self.call(Method::GET, ""), "it vanishes again and again")
    }
}
