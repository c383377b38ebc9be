//! Finding tickets by JQL.

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use super::{Jira, JiraError, wire};
use crate::domain::{AccountId, IssueKey};
use crate::rest::Call;

/// Issues in one page.
const PAGE: usize = 100;

/// An issue that a search found. The search lags some seconds behind: read the issue before acting on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundIssue {
    /// Its key.
    pub key: IssueKey,
    /// Jira's own number, which survives a move to another project.
    pub id: String,
    /// The status' name.
    pub status: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who it is assigned to.
    pub assignee: Option<AccountId>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Jira {
    /// The issues that the JQL finds, at most `limit`. Jira refuses JQL without a restriction.
    ///
    /// # Errors
    /// See [`JiraError`]; [`JiraError::Invalid`] with Jira's words when the JQL is wrong.
    pub async fn search(&self, jql: &str, limit: usize) -> Result<Vec<FoundIssue>, JiraError> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        // A page may hold fewer issues than asked for, but at least one.
        for _ in 0..limit {
            let mut body = json!({
                "jql": jql,
                "fields": ["status", "labels", "assignee", "updated"],
                "maxResults": PAGE.min(limit - found.len()),
            });
            if let Some(token) = &token {
                body["nextPageToken"] = json!(token);
            }
            let call = Call::new(
                Method::POST,
                "the search",
                "the permission Browse projects (scope read:jira-work)",
            )
            .at(["search", "jql"])
            .json(body)
            .repeatable();
            let page: wire::SearchPage = self.read(&call).await?;
            let is_empty = page.issues.is_empty();
            found.extend(page.issues.into_iter().filter_map(found_issue));
            if is_empty || found.len() >= limit || page.next_page_token.is_none() {
                break;
            }
            token = page.next_page_token;
        }
        found.truncate(limit);
        Ok(found)
    }
}

pub(super) fn found_issue(issue: wire::Issue) -> Option<FoundIssue> {
    Some(FoundIssue {
        key: issue.key.parse().ok()?,
        id: issue.id,
        status: issue.fields.status.name,
        labels: issue.fields.labels,
        assignee: issue.fields.assignee.and_then(|user| user.account()),
        updated_at: wire::moment(&issue.fields.updated)?,
    })
}
