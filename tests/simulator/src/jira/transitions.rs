//! Moving an issue through its workflow.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::comments::{Property, check_text};
use super::error::{Answer, JiraError};
use super::model::{Comment, Issue, State as JiraState};
use super::request::Input;
use super::wire::field_name;
use super::workflow::Transition;
use super::{Jira, properties};

/// The resolutions there are.
const RESOLUTIONS: [&str; 3] = ["Done", "Won't Do", "Duplicate"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TransitionBody {
    transition: Chosen,
    #[serde(default)]
    fields: Map<String, Value>,
    #[serde(default)]
    update: Update,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(default, rename = "historyMetadata")]
    _history_metadata: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Update {
    comment: Vec<Add>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    add: Added,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    body: Value,
}

/// `GET /rest/api/3/issue/{issueIdOrKey}/transitions`.
pub(super) async fn list(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    let known = [
        "expand",
        "transitionId",
        "skipRemoteOnlyCondition",
        "includeUnavailableTransitions",
        "sortByOpsBarAndStatus",
    ];
    let params = input.params(&jira, &known)?;
    let with_fields = params.list("expand").iter().any(|it| it == "transitions.fields");
    let state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let mut list = render(&jira, &state, issue, with_fields);
    if let (Some(id), Some(list)) = (params.get("transitionId"), list.as_array_mut()) {
        list.retain(|transition| transition["id"] == json!(id));
    }
    Ok(Json(json!({"expand": "transitions", "transitions": list})).into_response())
}

/// The transitions that the issue can take now.
pub(super) fn render(jira: &Jira, state: &JiraState, issue: &Issue, with_fields: bool) -> Value {
    let wire = jira.wire(state);
    let show = |(id, transition): (String, &Transition)| {
        let required = required_fields(state, transition);
        let mut shown = json!({
            "id": id,
            "name": transition.name,
            "to": wire.status(&transition.to),
            "hasScreen": !required.is_empty(),
            "isGlobal": transition.from.is_none(),
            "isInitial": false,
            "isAvailable": true,
            "isConditional": false,
            "looped": transition.from.as_ref() == Some(&transition.to),
        });
        if with_fields {
            let fields = required.iter().map(|field| ((*field).to_owned(), screen_field(field)));
            shown["fields"] = Value::Object(fields.collect());
        }
        shown
    };
    available(state, issue).into_iter().map(show).collect()
}

fn available<'a>(state: &'a JiraState, issue: &'a Issue) -> Vec<(String, &'a Transition)> {
    if state.settings.empty_transitions {
        return Vec::new();
    }
    state.workflow.transitions_from(&issue.status).collect()
}

fn required_fields<'a>(state: &'a JiraState, transition: &Transition) -> Vec<&'a str> {
    let concerns =
        |name: &str| name.eq_ignore_ascii_case(&transition.name) || name.eq_ignore_ascii_case(&transition.to);
    let rules = state.settings.required_fields.iter();
    rules.filter(|(name, _)| concerns(name)).map(|(_, field)| &**field).collect()
}

fn screen_field(field: &str) -> Value {
    let kind = if field == "resolution" { "resolution" } else { "string" };
    let mut shown = json!({
        "required": true,
        "schema": {"type": kind, "system": field},
        "name": field_name(field),
        "key": field,
        "fieldId": field,
        "hasDefaultValue": false,
        "operations": ["set"],
    });
    if field == "resolution" {
        let values = RESOLUTIONS.iter().enumerate();
        shown["allowedValues"] =
            values.map(|(index, name)| json!({"id": (10_000 + index).to_string(), "name": name})).collect();
    }
    shown
}

/// `POST /rest/api/3/issue/{issueIdOrKey}/transitions`.
pub(super) async fn take(State(jira): State<Jira>, Path(key): Path<String>, input: Input) -> Answer {
    input.params(&jira, &[])?;
    let sent: TransitionBody = input.body(&jira)?;
    for Add { add } in &sent.update.comment {
        check_text(&add.body).map_err(|error| input.malformed(&jira, error))?;
    }
    for property in &sent.properties {
        properties::check(&property.key, &property.value).map_err(|error| input.malformed(&jira, error))?;
    }
    let mut state = jira.lock();
    let issue = state.issue(&key).ok_or_else(JiraError::no_issue)?;
    let id = issue.id;
    let chosen = available(&state, issue).into_iter().find(|(id, _)| *id == sent.transition.id);
    let Some((transition_id, transition)) = chosen else {
        let message = format!("Transition id '{}' is not valid for this issue.", sent.transition.id);
        return Err(JiraError::message(StatusCode::BAD_REQUEST, message));
    };
    let (name, to) = (transition.name.clone(), transition.to.clone());
    let required = required_fields(&state, transition);
    if let Some(field) = sent.fields.keys().find(|field| !required.contains(&field.as_str())) {
        let message =
            format!("Field '{field}' cannot be set. It is not on the appropriate screen, or unknown.");
        return Err(input.malformed(&jira, JiraError::field(field, message)));
    }
    let missing = required.iter().filter(|field| sent.fields.get(**field).is_none_or(Value::is_null));
    let missing: Vec<(&str, String)> =
        missing.map(|field| (*field, format!("{} is required.", field_name(field)))).collect();
    if !missing.is_empty() {
        return Err(JiraError::fields(missing));
    }
    let resolution = sent.fields.get("resolution").map(resolution_of).transpose();
    let resolution = resolution.map_err(|error| input.malformed(&jira, error))?;
    state.set_status(id, &to, &input.caller, Some((transition_id, name)));
    let now = state.touch(id);
    let numbers: Vec<u64> = sent.update.comment.iter().map(|_| state.next_id()).collect();
    let Some(issue) = state.issues.get_mut(&id) else {
        return Err(JiraError::no_issue());
    };
    if resolution.is_some() {
        issue.resolution = resolution;
    }
    issue.fields.extend(sent.fields.into_iter().filter(|(field, _)| field != "resolution"));
    issue.properties.extend(sent.properties.into_iter().map(|it| (it.key, it.value)));
    let comments = numbers.into_iter().zip(sent.update.comment).map(|(id, Add { add })| Comment {
        id,
        author: input.caller.clone(),
        editor: input.caller.clone(),
        body: add.body,
        visibility: None,
        properties: BTreeMap::new(),
        created: now,
        updated: now,
    });
    issue.comments.extend(comments);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn resolution_of(value: &Value) -> Result<String, JiraError> {
    let by_id = |id: &str| id.parse::<usize>().ok().and_then(|id| RESOLUTIONS.get(id.checked_sub(10_000)?));
    let known = match (value["name"].as_str(), value["id"].as_str()) {
        (Some(name), _) => RESOLUTIONS.iter().find(|it| **it == name),
        (None, Some(id)) => by_id(id),
        (None, None) => None,
    };
    known
        .map(|name| (*name).to_owned())
        .ok_or_else(|| JiraError::field("resolution", "Resolution is not valid: name or id of one there is."))
}
