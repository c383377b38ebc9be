//! Changing an issue's fields.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::comments::Property;
use super::error::{Answer, JiraError};
use super::model::{Issue, State as JiraState};
use super::request::Input;
use super::{Jira, adf, properties};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditBody {
    #[serde(default)]
    fields: Map<String, Value>,
    #[serde(default)]
    update: Map<String, Value>,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(default, rename = "historyMetadata")]
    _history_metadata: Option<Value>,
}

/// One operation of an `update`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Operation {
    Add(String),
    Remove(String),
    Set(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Assignee {
    #[serde(deserialize_with = "present")]
    account_id: Option<String>,
}

/// Unlike a plain option a missing key is an error: `null` means nobody.
fn present<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(source)
}

/// `PUT /rest/api/3/issue/{issueIdOrKey}/assignee`.
pub(super) async fn assign(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    input.params(&jira, &[])?;
    let Assignee { account_id } = input.body(&jira)?;
    let mut state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?.id;
    let account_id = assignable(&state, account_id)?;
    state.assign(issue, account_id, &input.caller);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn assignable(state: &JiraState, account_id: Option<String>) -> Result<Option<String>, JiraError> {
    match account_id.as_deref() {
        // `-1` is the project's default assignee, which here is nobody.
        None | Some("-1") => Ok(None),
        Some(account) => match state.users.get(account) {
            None => Err(JiraError::field("assignee", format!("User '{account}' does not exist."))),
            Some(user) if !user.active => {
                Err(JiraError::field("assignee", format!("User '{account}' cannot be assigned issues.")))
            }
            Some(_) => Ok(account_id),
        },
    }
}

/// `PUT /rest/api/3/issue/{issueIdOrKey}`.
pub(super) async fn edit(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let known = ["notifyUsers", "overrideScreenSecurity", "overrideEditableFlag", "returnIssue", "expand"];
    let returns = input.params(&jira, &known)?.get("returnIssue").as_deref() == Some("true");
    let sent: EditBody = input.body(&jira)?;
    for property in &sent.properties {
        properties::check(&property.key, &property.value).map_err(|error| input.malformed(&jira, error))?;
    }
    let mut state = jira.lock();
    let mut edited = state.issue(&key).ok_or_else(JiraError::no_issue)?.clone();
    for (field, value) in sent.fields {
        set(&state, &mut edited, &field, value).map_err(|error| input.malformed(&jira, error))?;
    }
    for (field, operations) in sent.update {
        update(&mut edited, &field, operations).map_err(|error| input.malformed(&jira, error))?;
    }
    edited.properties.extend(sent.properties.into_iter().map(|it| (it.key, it.value)));
    let id = edited.id;
    let (assignee, labels) = (edited.assignee.clone(), edited.labels.clone());
    if let Some(issue) = state.issues.get_mut(&id) {
        let before = std::mem::replace(issue, edited);
        (issue.assignee, issue.labels) = (before.assignee, before.labels);
    }
    // These two keep a changelog.
    state.assign(id, assignee, &input.caller);
    state.set_labels(id, labels, &input.caller);
    state.touch(id);
    if !returns {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    Ok(Json(jira.wire(&state).issue(issue, &[])).into_response())
}

fn set(state: &JiraState, issue: &mut Issue, field: &str, value: Value) -> Result<(), JiraError> {
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| JiraError::field(field, "Operation value must be a string"))
    };
    match field {
        "summary" => issue.summary = text(&value)?,
        "description" => {
            adf::validate(&value).map_err(|reason| {
                let message =
                    "Operation value must be an Atlassian Document (see the Atlassian Document Format)";
                JiraError::field(field, format!("{message}: {reason}"))
            })?;
            issue.description = value;
        }
        "labels" => {
            let list = serde_json::from_value::<Vec<String>>(value);
            issue.labels = checked(list.map_err(|_| JiraError::field(field, "data was not an array"))?)?;
        }
        "assignee" => {
            let account = if value.is_null() { None } else { Some(text(&value["accountId"])?) };
            issue.assignee = assignable(state, account)?;
        }
        custom if issue.fields.contains_key(custom) => {
            issue.fields.insert(custom.to_owned(), value);
        }
        other => {
            let message =
                format!("Field '{other}' cannot be set. It is not on the appropriate screen, or unknown.");
            return Err(JiraError::field(other, message));
        }
    }
    Ok(())
}

fn update(issue: &mut Issue, field: &str, operations: Value) -> Result<(), JiraError> {
    if field != "labels" {
        let message = format!("Field '{field}' cannot be updated here: only labels can.");
        return Err(JiraError::field(field, message));
    }
    let operations: Vec<Operation> = serde_json::from_value(operations)
        .map_err(|problem| JiraError::field(field, format!("the operations cannot be read: {problem}")))?;
    for operation in operations {
        match operation {
            Operation::Add(label) => issue.labels.extend(checked(vec![label])?),
            Operation::Remove(label) => issue.labels.retain(|it| *it != label),
            Operation::Set(labels) => issue.labels = checked(labels)?,
        }
    }
    Ok(())
}

fn checked(labels: Vec<String>) -> Result<Vec<String>, JiraError> {
    match labels.iter().find(|label| label.is_empty() || label.contains(char::is_whitespace)) {
        None => Ok(labels),
        Some(label) => {
            Err(JiraError::field("labels", format!("The label '{label}' contains spaces which is invalid.")))
        }
    }
}
