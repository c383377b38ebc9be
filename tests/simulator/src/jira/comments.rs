//! Comments.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Answer, JiraError};
use super::model::Comment;
use super::request::Input;
use super::{Jira, adf};

/// The most characters a comment's text may have.
pub(super) const TEXT_LIMIT: usize = 32_767;

/// The body of a new or changed comment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CommentBody {
    body: Value,
    #[serde(default)]
    visibility: Option<Value>,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(default, rename = "jsdPublic")]
    _jsd_public: Option<bool>,
    #[serde(default, rename = "parentId")]
    _parent_id: Option<Value>,
}

/// A property that rides on another write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: Value,
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/comment`.
pub(super) async fn list(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let params = input.params(&jira, &["startAt", "maxResults", "orderBy", "expand"])?;
    let (start, count) = (input.number(&jira, "startAt", 0)?, input.number(&jira, "maxResults", 5000)?);
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let mut comments: Vec<&Comment> = issue.comments.iter().collect();
    match params.get("orderBy").as_deref() {
        None | Some("created" | "+created") => {}
        Some("-created") => comments.reverse(),
        Some(other) => {
            let message = format!("Comments cannot be ordered by '{other}', only by created.");
            return Err(input.malformed(&jira, JiraError::message(StatusCode::BAD_REQUEST, message)));
        }
    }
    let count = count.min(state.settings.page_limit.unwrap_or(5000)).min(5000);
    let with_properties = params.list("expand").iter().any(|it| it == "properties");
    let wire = jira.wire(&state);
    let page = comments.iter().skip(start).take(count).map(|it| wire.comment(issue, it, with_properties));
    let page: Vec<Value> = page.collect();
    let total = comments.len();
    Ok(Json(json!({"startAt": start, "maxResults": count, "total": total, "comments": page})).into_response())
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/comment/{id}`.
pub(super) async fn show(
    State(jira): State<Jira>,
    Path((key, id)): Path<(String, String)>,
    input: Input,
) -> Answer {
    let params = input.params(&jira, &["expand"])?;
    let with_properties = params.list("expand").iter().any(|it| it == "properties");
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let comment = issue.comments.iter().find(|comment| comment.id.to_string() == id);
    let comment = comment.ok_or_else(|| no_comment(&id))?;
    Ok(Json(jira.wire(&state).comment(issue, comment, with_properties)).into_response())
}

/// `POST /rest/api/3/issue/{issueIdOrKey}/comment`.
pub(super) async fn add(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    input.params(&jira, &["expand"])?;
    let sent: CommentBody = input.body(&jira)?;
    check(&jira, &input, &sent)?;
    let mut state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?.id;
    let (id, now) = (state.next_id(), state.touch(issue));
    let comment = Comment {
        id,
        author: input.caller.clone(),
        editor: input.caller,
        body: sent.body,
        visibility: sent.visibility,
        properties: sent.properties.into_iter().map(|it| (it.key, it.value)).collect(),
        created: now,
        updated: now,
    };
    if let Some(issue) = state.issues.get_mut(&issue) {
        issue.comments.push(comment.clone());
    }
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    Ok((StatusCode::CREATED, Json(jira.wire(&state).comment(issue, &comment, false))).into_response())
}

/// `PUT /rest/api/3/issue/{issueIdOrKey}/comment/{id}`.
pub(super) async fn update(
    State(jira): State<Jira>,
    Path((key, id)): Path<(String, String)>,
    input: Input,
) -> Answer {
    input.params(&jira, &["notifyUsers", "overrideEditableFlag", "expand"])?;
    let sent: CommentBody = input.body(&jira)?;
    check(&jira, &input, &sent)?;
    let mut state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?.id;
    let now = state.now();
    let found = state.issues.get_mut(&issue).into_iter().flat_map(|issue| &mut issue.comments);
    let comment = found.into_iter().find(|it| it.id.to_string() == id).ok_or_else(|| no_comment(&id))?;
    comment.body = sent.body;
    comment.editor = input.caller;
    comment.updated = now;
    comment.visibility = sent.visibility;
    comment
        .properties
        .extend(sent.properties.into_iter().map(|it| (it.key, it.value)).collect::<BTreeMap<_, _>>());
    let comment = comment.clone();
    state.touch(issue);
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    Ok(Json(jira.wire(&state).comment(issue, &comment, false)).into_response())
}

/// `DELETE /rest/api/3/issue/{issueIdOrKey}/comment/{id}`.
pub(super) async fn delete(
    State(jira): State<Jira>,
    Path((key, id)): Path<(String, String)>,
    input: Input,
) -> Answer {
    input.params(&jira, &["parentId"])?;
    let mut state = jira.lock();
    let issue = state.issue_mut(&key).ok_or_else(JiraError::no_issue)?;
    let place = issue.comments.iter().position(|comment| comment.id.to_string() == id);
    issue.comments.remove(place.ok_or_else(|| no_comment(&id))?);
    let issue = issue.id;
    state.touch(issue);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn check(jira: &Jira, input: &Input, sent: &CommentBody) -> Result<(), JiraError> {
    check_text(&sent.body).map_err(|error| input.malformed(jira, error))
}

/// What Jira says to a comment's body.
pub(super) fn check_text(body: &Value) -> Result<(), JiraError> {
    adf::validate(body)
        .map_err(|reason| JiraError::field("comment", format!("Comment body is not valid! {reason}")))?;
    let text = adf::text_length(body);
    if text == 0 {
        return Err(JiraError::field("comment", "Comment body can not be empty!"));
    }
    if text > TEXT_LIMIT {
        let message = "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";
        return Err(JiraError::field("comment", message));
    }
    Ok(())
}

fn no_comment(id: &str) -> JiraError {
    JiraError::not_found(format!("Can not find a comment for the id: {id}."))
}
