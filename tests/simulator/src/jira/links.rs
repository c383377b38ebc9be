//! Remote links.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Jira;
use super::error::{Answer, JiraError};
use super::model::RemoteLink;
use super::request::Input;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LinkBody {
    #[serde(default)]
    global_id: Option<String>,
    #[serde(default)]
    application: Option<Value>,
    #[serde(default)]
    relationship: Option<String>,
    object: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkObject {
    url: String,
    title: String,
    #[serde(default, rename = "summary")]
    _summary: Option<String>,
    #[serde(default, rename = "icon")]
    _icon: Option<Icon>,
    #[serde(default, rename = "status")]
    _status: Option<LinkStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Icon {
    #[serde(default, rename = "url16x16")]
    _url: Option<String>,
    #[serde(default, rename = "title")]
    _title: Option<String>,
    #[serde(default, rename = "link")]
    _link: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkStatus {
    #[serde(default, rename = "resolved")]
    _resolved: Option<bool>,
    #[serde(default, rename = "icon")]
    _icon: Option<Icon>,
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/remotelink`: all, or the one with this `globalId`.
pub(super) async fn list(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let params = input.params(&jira, &["globalId"])?;
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let wire = jira.wire(&state);
    let Some(global_id) = params.get("globalId") else {
        let all: Vec<Value> = issue.links.iter().map(|link| wire.remote_link(issue, link)).collect();
        return Ok(Json(all).into_response());
    };
    let link = issue.links.iter().find(|link| link.global_id.as_ref() == Some(&global_id));
    let link = link.ok_or_else(|| no_link(&global_id))?;
    Ok(Json(wire.remote_link(issue, link)).into_response())
}

/// `POST /rest/api/3/issue/{issueIdOrKey}/remotelink`: 201 for a new link, 200 for one that was replaced.
pub(super) async fn upsert(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    input.params(&jira, &[])?;
    let sent: LinkBody = input.body(&jira)?;
    check(&sent).map_err(|error| input.malformed(&jira, error))?;
    let mut state = jira.lock();
    let new_id = state.next_id();
    let issue = state.issue_mut(&key).ok_or_else(JiraError::no_issue)?;
    let LinkBody { global_id, application, relationship, object } = sent;
    let same = issue.links.iter().position(|link| global_id.is_some() && link.global_id == global_id);
    let id = same.and_then(|place| issue.links.get(place)).map_or(new_id, |link| link.id);
    let link = RemoteLink { id, global_id, application, relationship, object };
    let status = match same {
        Some(place) => {
            issue.links[place] = link;
            StatusCode::OK
        }
        None => {
            issue.links.push(link);
            StatusCode::CREATED
        }
    };
    let number = issue.id;
    let link = jira.wire(&state).link(&format!("issue/{key}/remotelink/{id}"));
    state.touch(number);
    Ok((status, Json(json!({"id": id, "self": link}))).into_response())
}

/// `DELETE /rest/api/3/issue/{issueIdOrKey}/remotelink?globalId=…`.
pub(super) async fn delete(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let params = input.params(&jira, &["globalId"])?;
    let Some(global_id) = params.get("globalId") else {
        let message = "The query parameter 'globalId' is missing.";
        return Err(input.malformed(&jira, JiraError::message(StatusCode::BAD_REQUEST, message)));
    };
    let mut state = jira.lock();
    let issue = state.issue_mut(&key).ok_or_else(JiraError::no_issue)?;
    let place = issue.links.iter().position(|link| link.global_id.as_ref() == Some(&global_id));
    issue.links.remove(place.ok_or_else(|| no_link(&global_id))?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn check(sent: &LinkBody) -> Result<(), JiraError> {
    if sent.global_id.as_ref().is_some_and(|id| id.chars().count() > 255) {
        return Err(JiraError::field("globalId", "The globalId is longer than 255 characters."));
    }
    if let Some(application) = &sent.application {
        let known = |name: &str| ["type", "name"].contains(&name);
        let fits = application
            .as_object()
            .is_some_and(|it| it.iter().all(|(key, value)| known(key) && value.is_string()));
        if !fits {
            return Err(JiraError::field("application", "An application has a type and a name, both texts."));
        }
    }
    let object: LinkObject = serde_json::from_value(sent.object.clone())
        .map_err(|problem| JiraError::field("object", format!("The object is not valid: {problem}")))?;
    if object.title.is_empty() {
        return Err(JiraError::field("title", "'title' is required."));
    }
    if !object.url.starts_with("http://") && !object.url.starts_with("https://") {
        return Err(JiraError::field("url", format!("'{}' is not an absolute URL.", object.url)));
    }
    Ok(())
}

fn no_link(global_id: &str) -> JiraError {
    JiraError::not_found(format!("There is no remote link with the globalId '{global_id}'."))
}
