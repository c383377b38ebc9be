//! A ticket as a run reads it, and what the product remembers on it.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{CANCEL_PROPERTY, Jira, JiraError, PROPERTY, adf, wire};
use crate::domain::{
    AccountId, CancelRequest, Comment, CommentId, CommentMarker, IssueKey, Ticket, TicketKey, TicketMemory,
};
use crate::rest::Call;

/// The longest value of an issue property, in characters.
const PROPERTY_LIMIT: usize = 32_768;

const FIELDS: &str = "summary,description,status,labels,components,assignee,reporter,issuetype,updated";

impl Jira {
    /// The ticket with all comments of people. Comments with our property or by `jira.agent_account_id` are left out.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn issue(&self, key: &IssueKey) -> Result<Ticket, JiraError> {
        let call = remembered(issue_call(key, FIELDS));
        let issue: wire::Issue = self.read(&call).await?;
        let fields = issue.fields;
        let updated_at = wire::moment(&fields.updated)
            .ok_or_else(|| JiraError::unexpected(&call, format!("its `updated` is `{}`", fields.updated)))?;
        let comments = self.comments(key).await?;
        let own_comments = comments.iter().filter_map(marker).collect();
        let people = comments.iter().filter(|comment| !self.is_ours(comment));
        let mut comments: Vec<Comment> = people.filter_map(comment).collect();
        comments.sort_by_key(|comment| (comment.created_at, comment.id.parse::<CommentId>().ok()));
        Ok(Ticket {
            key: TicketKey::Jira(key.clone()),
            url: self.browse_url(key),
            summary: fields.summary,
            description: adf::to_markdown(&fields.description),
            status: fields.status.name,
            labels: fields.labels,
            components: fields.components.into_iter().map(|component| component.name).collect(),
            assignees: fields.assignee.and_then(|user| user.account()).into_iter().collect(),
            reporter: fields.reporter.and_then(|user| user.account()),
            kind: fields.issuetype.name,
            comments,
            updated_at,
            own_comments,
            memory: memory(key, &issue.properties),
        })
    }

    /// What earlier runs left on the ticket. What cannot be read counts as nothing, with a warning.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn memory(&self, key: &IssueKey) -> Result<TicketMemory, JiraError> {
        let issue: wire::Issue = self.read(&remembered(issue_call(key, "updated"))).await?;
        Ok(memory(key, &issue.properties))
    }

    /// Replaces what is remembered on the ticket. There is no compare-and-set: read, change and write quickly.
    ///
    /// # Errors
    /// See [`JiraError`]; [`JiraError::Invalid`] when it is longer than Jira stores.
    pub async fn write_memory(&self, key: &IssueKey, memory: &TicketMemory) -> Result<(), JiraError> {
        let what = format!("the property {PROPERTY} of {key}");
        let invalid =
            |message: String| JiraError::Invalid { what: what.clone(), message, fields: Vec::new() };
        let value = serde_json::to_value(memory).map_err(|error| invalid(error.to_string()))?;
        let length = value.to_string().encode_utf16().count();
        if length > PROPERTY_LIMIT {
            return Err(invalid(format!("it has {length} characters, Jira stores {PROPERTY_LIMIT}")));
        }
        self.write_property(key, PROPERTY, value).await
    }

    /// Asks for the runs of the ticket to stop, in the place of an earlier request.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn request_cancel(&self, key: &IssueKey, request: &CancelRequest) -> Result<(), JiraError> {
        self.write_property(key, CANCEL_PROPERTY, json!(request)).await
    }

    async fn write_property(&self, key: &IssueKey, name: &str, value: Value) -> Result<(), JiraError> {
        let what = format!("the property {name} of {key}");
        let call = Call::new(Method::PUT, what, "the permission Edit issues (scope write:jira-work)")
            .at(["issue", &key.to_string(), "properties", name])
            .json(value);
        self.send(&call).await.map(|_| ())
    }

    /// Adds labels; those that are there stay.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn add_labels(&self, key: &IssueKey, labels: &[&str]) -> Result<(), JiraError> {
        self.change_labels(key, "add", labels).await
    }

    /// Removes labels; those that are not there are no error.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn remove_labels(&self, key: &IssueKey, labels: &[&str]) -> Result<(), JiraError> {
        self.change_labels(key, "remove", labels).await
    }

    async fn change_labels(&self, key: &IssueKey, verb: &str, labels: &[&str]) -> Result<(), JiraError> {
        if labels.is_empty() {
            return Ok(());
        }
        let changes: Vec<Value> = labels.iter().map(|label| json!({verb: label})).collect();
        let call = Call::new(Method::PUT, format!("the labels of {key}"), "the permission Edit issues")
            .at(["issue", &key.to_string()])
            .json(json!({"update": {"labels": changes}}));
        self.send(&call).await.map(|_| ())
    }

    /// Assigns the ticket.
    ///
    /// # Errors
    /// See [`JiraError`]; [`JiraError::Invalid`] when the account cannot be assigned in this project.
    pub async fn assign(&self, key: &IssueKey, to: &AccountId) -> Result<(), JiraError> {
        let call = Call::new(Method::PUT, format!("the assignee of {key}"), "the permission Assign issues")
            .at(["issue", &key.to_string(), "assignee"])
            .json(json!({"accountId": to}));
        self.send(&call).await.map(|_| ())
    }

    /// Whether the product wrote the comment.
    fn is_ours(&self, comment: &wire::Comment) -> bool {
        let author = comment.author.as_ref().and_then(wire::User::account);
        let by_agent = self.inner.agent.is_some() && author == self.inner.agent;
        by_agent || comment.properties.iter().any(|property| property.key == PROPERTY)
    }
}

/// Reads the named fields of an issue.
pub(super) fn issue_call(key: &IssueKey, fields: &str) -> Call {
    Call::get(format!("issue {key}"), "the permission Browse projects (scope read:jira-work)")
        .at(["issue", &key.to_string()])
        .query("fields", fields)
}

/// `None` for a comment without a readable time, which no version of Jira sends.
pub(super) fn comment(comment: &wire::Comment) -> Option<Comment> {
    let created_at = wire::moment(&comment.created)?;
    let author = comment.author.as_ref();
    Some(Comment {
        id: comment.id.clone(),
        author: author.and_then(wire::User::account),
        author_name: author.map(|author| author.display_name.clone()).unwrap_or_default(),
        body: adf::to_markdown(&comment.body),
        created_at,
        updated_at: wire::moment(&comment.updated).unwrap_or(created_at),
    })
}

/// The same with what is remembered on the issue.
fn remembered(call: Call) -> Call {
    call.query("properties", format!("{PROPERTY},{CANCEL_PROPERTY}"))
}

/// What our property on a comment says of it.
fn marker(comment: &wire::Comment) -> Option<CommentMarker> {
    let property = comment.properties.iter().find(|property| property.key == PROPERTY)?;
    CommentMarker::from_key(property.value["marker"].as_str()?)
}

pub(super) fn memory(key: &IssueKey, properties: &Value) -> TicketMemory {
    let memory: Option<TicketMemory> = property(key, properties, PROPERTY);
    TicketMemory { cancel: property(key, properties, CANCEL_PROPERTY), ..memory.unwrap_or_default() }
}

/// A property's value; one that cannot be read counts as none.
fn property<T: DeserializeOwned>(key: &IssueKey, properties: &Value, name: &str) -> Option<T> {
    let value = properties.get(name).filter(|value| !value.is_null())?;
    let read = T::deserialize(value);
    read.inspect_err(|error| {
        tracing::warn!(ticket.key = %key, %error, "the issue property {name} cannot be read and is ignored");
    })
    .ok()
}
