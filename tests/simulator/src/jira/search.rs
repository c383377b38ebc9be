//! Searching by JQL.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{Answer, JiraError};
use super::jql::Query;
use super::model::{Issue, State as JiraState};
use super::request::{Input, Params};
use super::{Jira, transitions};

/// The most results of one page.
const PAGE_LIMIT: usize = 5000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SearchBody {
    jql: String,
    fields: Vec<String>,
    max_results: Option<usize>,
    next_page_token: Option<String>,
    /// One text, not an array.
    expand: Option<String>,
    properties: Vec<String>,
    reconcile_issues: Vec<u64>,
    #[serde(rename = "fieldsByKeys")]
    _fields_by_keys: Option<bool>,
}

/// `GET|POST /rest/api/{2,3,latest}/search`: removed from Jira Cloud.
pub(super) async fn removed(
    State(jira): State<Jira>,
    Path(_version): Path<String>,
    request: Request<Body>,
) -> JiraError {
    let message = "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. A full \
        migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046";
    jira.malformed(
        &format!("{} {}", request.method(), request.uri()),
        JiraError::message(StatusCode::GONE, message),
    )
}

/// `GET /rest/api/3/search/jql`.
pub(super) async fn by_query(State(jira): State<Jira>, input: Input) -> Answer {
    let known = [
        "jql",
        "fields",
        "maxResults",
        "nextPageToken",
        "expand",
        "properties",
        "reconcileIssues",
        "fieldsByKeys",
        "failFast",
    ];
    let params: &Params = input.params(&jira, &known)?;
    let sent = SearchBody {
        jql: params.get("jql").unwrap_or_default(),
        fields: params.list("fields"),
        max_results: Some(input.number(&jira, "maxResults", 50)?),
        next_page_token: params.get("nextPageToken"),
        expand: params.get("expand"),
        properties: params.list("properties"),
        reconcile_issues: params.list("reconcileIssues").iter().filter_map(|id| id.parse().ok()).collect(),
        _fields_by_keys: None,
    };
    search(&jira, &input, sent)
}

/// `POST /rest/api/3/search/jql`.
pub(super) async fn by_body(State(jira): State<Jira>, input: Input) -> Answer {
    input.params(&jira, &[])?;
    let sent = input.body(&jira)?;
    search(&jira, &input, sent)
}

fn search(jira: &Jira, input: &Input, sent: SearchBody) -> Answer {
    let malformed =
        |message: String| input.malformed(jira, JiraError::message(StatusCode::BAD_REQUEST, message));
    if sent.properties.len() > 5 || sent.reconcile_issues.len() > 50 {
        return Err(malformed("At most 5 properties and 50 reconcileIssues can be asked for.".to_owned()));
    }
    let query = Query::parse(&sent.jql).map_err(malformed)?;
    if !query.is_bounded() {
        let message =
            "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.";
        return Err(malformed(message.to_owned()));
    }
    let start = sent.next_page_token.as_ref().map_or(Some(0), |token| offset(token, &sent.jql));
    let start =
        start.ok_or_else(|| malformed("The nextPageToken is not valid for this query.".to_owned()))?;
    let state = jira.lock();
    let seen = visible(&state, &sent.reconcile_issues);
    let found = query.run(&state, seen.into_iter(), &input.caller).map_err(malformed)?;
    let count =
        sent.max_results.unwrap_or(50).min(state.settings.page_limit.unwrap_or(PAGE_LIMIT)).min(PAGE_LIMIT);
    let page: Vec<Value> =
        found.iter().skip(start).take(count).map(|issue| show(jira, &state, issue, &sent)).collect();
    let end = start + page.len();
    let is_last = end >= found.len();
    let mut answer = json!({"issues": page, "isLast": is_last});
    if !is_last {
        answer["nextPageToken"] = json!(token(end, &sent.jql));
    }
    Ok(Json(answer).into_response())
}

/// What the search index holds: all issues, or when it is stale what it held then, but for the reconciled ones.
fn visible<'a>(state: &'a JiraState, reconciled: &[u64]) -> Vec<&'a Issue> {
    let Some(index) = &state.stale_index else {
        return state.issues.values().collect();
    };
    let live = state.issues.values().filter(|issue| reconciled.contains(&issue.id));
    let stale = index.values().filter(|issue| !reconciled.contains(&issue.id));
    stale.chain(live).collect()
}

fn show(jira: &Jira, state: &JiraState, issue: &Issue, sent: &SearchBody) -> Value {
    // Unlike an issue's own address, a search without fields shows ids only.
    if sent.fields.iter().all(|field| field == "id") && sent.properties.is_empty() {
        return json!({"id": issue.id.to_string()});
    }
    let fields = if sent.fields.is_empty() { vec!["id".to_owned()] } else { sent.fields.clone() };
    let mut shown = jira.wire(state).issue(issue, &fields);
    if sent.expand.as_deref().is_some_and(|expand| expand.split(',').any(|it| it.trim() == "transitions")) {
        shown["transitions"] = transitions::render(jira, state, issue, false);
    }
    if !sent.properties.is_empty() {
        let kept = issue.properties.iter().filter(|(key, _)| sent.properties.contains(key));
        let kept: Map<String, Value> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        shown["properties"] = Value::Object(kept);
    }
    shown
}

fn token(offset: usize, jql: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{offset}|{jql}"))
}

fn offset(token: &str, jql: &str) -> Option<usize> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (offset, of) = text.split_once('|')?;
    offset.parse().ok().filter(|_| of == jql)
}
