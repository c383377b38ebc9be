//! Properties of issues and of comments.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::Jira;
use super::error::{Answer, JiraError};
use super::model::State as JiraState;
use super::request::Input;

/// The most characters a property's value may have.
const VALUE_LIMIT: usize = 32_768;
/// The most characters a property's key may have.
const KEY_LIMIT: usize = 255;

type Store = BTreeMap<String, Value>;
/// Where the properties of one kind are kept.
type Finder = fn(&mut JiraState, &str) -> Result<Store, JiraError>;

fn of_issue(state: &mut JiraState, key: &str) -> Result<Store, JiraError> {
    state.issue(key).map(|issue| issue.properties.clone()).ok_or_else(JiraError::no_issue)
}

fn of_comment(state: &mut JiraState, id: &str) -> Result<Store, JiraError> {
    let missing = || JiraError::not_found(format!("Can not find a comment for the id: {id}."));
    state.comment_mut(id).map(|comment| comment.properties.clone()).ok_or_else(missing)
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/properties`.
pub(super) async fn issue_keys(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    keys(&jira, &input, &format!("issue/{key}"), of_issue(&mut jira.lock(), &key)?)
}

/// `GET /rest/api/3/comment/{commentId}/properties`.
pub(super) async fn comment_keys(State(jira): State<Jira>, Path(id): Path<String>, input: Input) -> Answer {
    keys(&jira, &input, &format!("comment/{id}"), of_comment(&mut jira.lock(), &id)?)
}

fn keys(jira: &Jira, input: &Input, owner: &str, store: Store) -> Answer {
    input.params(jira, &[])?;
    let link = |key: &str| format!("{}/rest/api/3/{owner}/properties/{key}", jira.site());
    let list: Vec<Value> = store.keys().map(|key| json!({"self": link(key), "key": key})).collect();
    Ok(Json(json!({"keys": list})).into_response())
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}`.
pub(super) async fn show_issue(
    State(jira): State<Jira>,
    Path(path): Path<(String, String)>,
    input: Input,
) -> Answer {
    show(&jira, &input, &path, of_issue)
}

/// `GET /rest/api/3/comment/{commentId}/properties/{propertyKey}`.
pub(super) async fn show_comment(
    State(jira): State<Jira>,
    Path(path): Path<(String, String)>,
    input: Input,
) -> Answer {
    show(&jira, &input, &path, of_comment)
}

fn show(jira: &Jira, input: &Input, (owner, key): &(String, String), find: Finder) -> Answer {
    input.params(jira, &[])?;
    let store = find(&mut jira.lock(), owner)?;
    let value = store.get(key).ok_or_else(|| no_property(key))?;
    Ok(Json(json!({"key": key, "value": value})).into_response())
}

/// `PUT /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}`: 201 for a new one, 200 for one that was there.
pub(super) async fn put_issue(
    State(jira): State<Jira>,
    Path((owner, key)): Path<(String, String)>,
    input: Input,
) -> Answer {
    let value = read(&jira, &input, &key)?;
    let mut state = jira.lock();
    let issue = state.issue_mut(&owner).ok_or_else(JiraError::no_issue)?;
    Ok(put(&mut issue.properties, key, value))
}

/// `PUT /rest/api/3/comment/{commentId}/properties/{propertyKey}`.
pub(super) async fn put_comment(
    State(jira): State<Jira>,
    Path((owner, key)): Path<(String, String)>,
    input: Input,
) -> Answer {
    let value = read(&jira, &input, &key)?;
    let mut state = jira.lock();
    of_comment(&mut state, &owner)?;
    let comment = state.comment_mut(&owner).ok_or_else(JiraError::no_issue)?;
    Ok(put(&mut comment.properties, key, value))
}

fn read(jira: &Jira, input: &Input, key: &str) -> Result<Value, JiraError> {
    input.params(jira, &[])?;
    let value: Value = input.body(jira)?;
    let fits = check(key, &value)
        .and_then(|()| if input.body_chars() > VALUE_LIMIT { Err(too_long()) } else { Ok(()) });
    fits.map_err(|error| input.malformed(jira, error)).map(|()| value)
}

/// What Jira says to a property.
pub(super) fn check(key: &str, value: &Value) -> Result<(), JiraError> {
    if key.is_empty() || key.chars().count() > KEY_LIMIT {
        return Err(JiraError::message(
            StatusCode::BAD_REQUEST,
            "The property key must have 1 to 255 characters.",
        ));
    }
    if value.is_null() || value == "" {
        return Err(JiraError::message(
            StatusCode::BAD_REQUEST,
            "The property value must be a non-empty JSON.",
        ));
    }
    if value.to_string().chars().count() > VALUE_LIMIT { Err(too_long()) } else { Ok(()) }
}

fn too_long() -> JiraError {
    JiraError::message(StatusCode::BAD_REQUEST, "The property value is longer than 32768 characters.")
}

fn put(store: &mut Store, key: String, value: Value) -> axum::response::Response {
    let status = if store.insert(key, value).is_some() { StatusCode::OK } else { StatusCode::CREATED };
    status.into_response()
}

/// `DELETE /rest/api/3/issue/{issueIdOrKey}/properties/{propertyKey}`.
pub(super) async fn delete_issue(
    State(jira): State<Jira>,
    Path((owner, key)): Path<(String, String)>,
    input: Input,
) -> Answer {
    input.params(&jira, &[])?;
    let mut state = jira.lock();
    let issue = state.issue_mut(&owner).ok_or_else(JiraError::no_issue)?;
    issue.properties.remove(&key).ok_or_else(|| no_property(&key))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /rest/api/3/comment/{commentId}/properties/{propertyKey}`.
pub(super) async fn delete_comment(
    State(jira): State<Jira>,
    Path((owner, key)): Path<(String, String)>,
    input: Input,
) -> Answer {
    input.params(&jira, &[])?;
    let mut state = jira.lock();
    let comment = state.comment_mut(&owner).ok_or_else(|| no_property(&key))?;
    comment.properties.remove(&key).ok_or_else(|| no_property(&key))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn no_property(key: &str) -> JiraError {
    JiraError::not_found(format!("The property with key '{key}' does not exist."))
}
