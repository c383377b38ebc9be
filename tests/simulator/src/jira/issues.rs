//! Reading one issue.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::{Answer, JiraError};
use super::request::Input;
use super::wire::field_name;
use super::{Jira, transitions};

/// `GET /rest/api/3/issue/{issueIdOrKey}`.
pub(super) async fn show(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let known = ["fields", "fieldsByKeys", "expand", "properties", "updateHistory", "failFast"];
    let params = input.params(&jira, &known)?;
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let wire = jira.wire(&state);
    let mut shown = wire.issue(issue, &params.list("fields"));
    for expand in params.list("expand") {
        match &*expand {
            "names" => shown["names"] = names(&shown["fields"]),
            "transitions" => shown["transitions"] = transitions::render(&jira, &state, issue, false),
            "changelog" => {
                let histories: Vec<Value> =
                    issue.history.iter().rev().map(|change| wire.change(change)).collect();
                let total = histories.len();
                shown["changelog"] =
                    json!({"startAt": 0, "maxResults": total, "total": total, "histories": histories});
            }
            _ => {}
        }
    }
    let properties = params.list("properties");
    if !properties.is_empty() {
        let wanted = |key: &str| properties.iter().any(|it| it == "*all" || it == key);
        let kept = issue.properties.iter().filter(|(key, _)| wanted(key));
        shown["properties"] = Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    Ok(Json(shown).into_response())
}

fn names(fields: &Value) -> Value {
    let keys = fields.as_object().into_iter().flat_map(Map::keys);
    Value::Object(keys.map(|key| (key.clone(), json!(field_name(key)))).collect())
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/changelog`.
pub(super) async fn changelog(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    input.params(&jira, &["startAt", "maxResults"])?;
    let (start, count) = (input.number(&jira, "startAt", 0)?, input.number(&jira, "maxResults", 100)?);
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let count = count.min(state.settings.page_limit.unwrap_or(100)).min(100);
    let wire = jira.wire(&state);
    let values: Vec<Value> =
        issue.history.iter().skip(start).take(count).map(|change| wire.change(change)).collect();
    let total = issue.history.len();
    let link = |start: usize| wire.link(&format!("issue/{key}/changelog?startAt={start}&maxResults={count}"));
    let is_last = start + values.len() >= total;
    let mut page = json!({
        "self": link(start), "maxResults": count, "startAt": start, "total": total, "isLast": is_last, "values": values,
    });
    if !is_last {
        page["nextPage"] = json!(link(start + count));
    }
    Ok(Json(page).into_response())
}

/// `GET /browse/{key}`: the ticket as plain text, for people at a terminal.
pub(super) async fn browse(State(jira): State<Jira>, Path(key): Path<String>) -> Response {
    let Some(issue) = jira.issue(&key) else {
        return JiraError::no_issue().into_response();
    };
    let mut page = format!(
        "{} {}\nstatus: {}\nassignee: {}\nlabels: {}\n\n{}\n",
        issue.key,
        issue.summary,
        issue.status,
        issue.assignee_name.as_deref().unwrap_or("nobody"),
        issue.labels.join(", "),
        issue.description,
    );
    for link in &issue.remote_links {
        let text = |name: &str| link.object[name].as_str().unwrap_or_default().to_owned();
        page += &format!("\nlink: {} {}\n", text("title"), text("url"));
    }
    for comment in &issue.comments {
        page += &format!("\n--- {}\n{}\n", comment.author, comment.text);
    }
    page.into_response()
}
