//! Jira's state as tests and `GET /_state` read it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Change, Issue, RemoteLink, State};
use super::{Jira, adf};

/// An issue at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct IssueSnapshot {
    /// The number.
    pub id: u64,
    /// The key.
    pub key: String,
    /// The title.
    pub summary: String,
    /// The description as Markdown.
    pub description: String,
    /// The status' name.
    pub status: String,
    /// The resolution's name.
    pub resolution: Option<String>,
    /// The account id of who has it.
    pub assignee: Option<String>,
    /// The name of who has it.
    pub assignee_name: Option<String>,
    /// The labels, sorted where the API changed them.
    pub labels: Vec<String>,
    /// The comments, oldest first.
    pub comments: Vec<CommentSnapshot>,
    /// The links to what is outside of Jira.
    pub remote_links: Vec<RemoteLink>,
    /// The issue properties.
    pub properties: BTreeMap<String, Value>,
    /// Every change of status, assignee and labels since it was added, oldest first.
    pub history: Vec<Change>,
}

/// A comment at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct CommentSnapshot {
    /// The id.
    pub id: String,
    /// The account id of who wrote it.
    pub author: String,
    /// The text as Markdown.
    pub text: String,
    /// The document.
    pub body: Value,
    /// The comment properties.
    pub properties: BTreeMap<String, Value>,
}

impl IssueSnapshot {
    /// The names of the transitions that were taken, oldest first.
    #[must_use]
    pub fn transitions(&self) -> Vec<&str> {
        self.history.iter().filter_map(|change| change.transition.as_ref()).map(|(_, name)| &**name).collect()
    }

    /// The comments of one account, oldest first.
    #[must_use]
    pub fn comments_by(&self, account_id: &str) -> Vec<&CommentSnapshot> {
        self.comments.iter().filter(|comment| comment.author == account_id).collect()
    }
}

impl Jira {
    /// The issue as it is now; `None` when there is none.
    #[must_use]
    pub fn issue(&self, key: &str) -> Option<IssueSnapshot> {
        let state = self.lock();
        state.issue(key).map(|issue| snapshot(&state, issue))
    }

    /// Every issue as it is now, in the order they were added.
    #[must_use]
    pub fn issues(&self) -> Vec<IssueSnapshot> {
        let state = self.lock();
        state.issues.values().map(|issue| snapshot(&state, issue)).collect()
    }

    /// The whole state, for `GET /_state`.
    #[must_use]
    pub fn state_json(&self) -> Value {
        let issues = self.issues();
        let state = self.lock();
        json!({"users": state.users.values().collect::<Vec<_>>(), "issues": issues, "workflow": state.workflow})
    }
}

fn snapshot(state: &State, issue: &Issue) -> IssueSnapshot {
    let comments = issue.comments.iter().map(|comment| CommentSnapshot {
        id: comment.id.to_string(),
        author: comment.author.clone(),
        text: adf::to_markdown(&comment.body),
        body: comment.body.clone(),
        properties: comment.properties.clone(),
    });
    let assignee = issue.assignee.as_ref().and_then(|account| state.users.get(account));
    IssueSnapshot {
        id: issue.id,
        key: issue.key.clone(),
        summary: issue.summary.clone(),
        description: adf::to_markdown(&issue.description),
        status: issue.status.clone(),
        resolution: issue.resolution.clone(),
        assignee: issue.assignee.clone(),
        assignee_name: assignee.map(|user| user.name.clone()),
        labels: issue.labels.clone(),
        comments: comments.collect(),
        remote_links: issue.links.clone(),
        properties: issue.properties.clone(),
        history: issue.history.clone(),
    }
}
