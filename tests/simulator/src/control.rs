//! The simulator's own endpoints: reading its state, and acting as people or as bad luck from scripts.

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use regex::Regex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::jira::IssueSeed;
use crate::scenario::RuleSeed;
use crate::server::Services;
use crate::service::Service;

/// What a control request is answered with when it cannot be done: 400 and the reasons.
struct Refused(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": format!("{:#}", self.0)}))).into_response()
    }
}

type Answer = Result<Response, Refused>;

pub(crate) fn router(services: Services) -> Router {
    Router::new()
        .route("/_health", get(async || Json(json!({"status": "ok"}))))
        .route("/_state", get(state))
        .route("/_journal", get(journal))
        .route("/_problems", get(problems).delete(take_problems))
        .route("/_faults", get(faults).post(add_fault).delete(end_faults))
        .route("/_models/rules", post(add_rule))
        .route("/_jira/issues", post(add_issue))
        .route("/_jira/issues/{key}", get(issue))
        .route("/_jira/issues/{key}/comments", post(comment))
        .route("/_jira/issues/{key}/assignee", put(assign))
        .route("/_jira/issues/{key}/status", put(set_status))
        .route("/_jira/issues/{key}/labels", post(label))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(services)
}

async fn unknown(request: Request<Body>) -> Response {
    let error = format!("{} {}: the simulator has no such endpoint", request.method(), request.uri());
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the body cannot be read")
}

fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn state(State(services): State<Services>) -> Json<Value> {
    let Services { jira, github, models, faults, problems, .. } = &services;
    Json(json!({
        "jira": jira.state_json(),
        "github": github.state_json(),
        "models": models.state_json(),
        "faults": faults.states(),
        "problems": problems.list(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    service: Option<Service>,
    method: Option<String>,
    path: Option<String>,
}

async fn journal(
    State(services): State<Services>,
    filter: Result<Query<Filter>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let Query(Filter { service, method, path }) = filter?;
    let path = path.as_deref().map(Regex::new).transpose()?;
    let mut entries = services.journal.entries();
    entries.retain(|entry| {
        service.is_none_or(|service| service == entry.service)
            && method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&entry.method))
            && path.as_ref().is_none_or(|path| path.is_match(&entry.path))
    });
    Ok(Json(json!({"requests": entries})).into_response())
}

async fn problems(State(services): State<Services>) -> Json<Value> {
    Json(json!({"problems": services.problems.list()}))
}

async fn take_problems(State(services): State<Services>) -> Json<Value> {
    Json(json!({"problems": services.problems.take()}))
}

async fn faults(State(services): State<Services>) -> Json<Value> {
    Json(json!({"faults": services.faults.states()}))
}

async fn add_fault(State(services): State<Services>, body: Bytes) -> Answer {
    let fault: Fault = read(&body)?;
    services.faults.add(fault);
    Ok(StatusCode::CREATED.into_response())
}

async fn end_faults(State(services): State<Services>) -> Answer {
    services.faults.end_all();
    done()
}

async fn add_rule(State(services): State<Services>, body: Bytes) -> Answer {
    let rule: RuleSeed = read(&body)?;
    services.models.add(rule.into_rule(None)?);
    Ok(StatusCode::CREATED.into_response())
}

async fn add_issue(State(services): State<Services>, body: Bytes) -> Answer {
    let seed: IssueSeed = read(&body)?;
    services.jira.add_issue(seed)?;
    Ok(StatusCode::CREATED.into_response())
}

async fn issue(State(services): State<Services>, Path(key): Path<String>) -> Answer {
    let issue = services.jira.issue(&key).with_context(|| format!("there is no issue {key}"))?;
    Ok(Json(issue).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommentBy {
    author: String,
    text: String,
}

async fn comment(State(services): State<Services>, Path(key): Path<String>, body: Bytes) -> Answer {
    let CommentBy { author, text } = read(&body)?;
    let id = services.jira.add_comment(&key, &author, &text)?;
    Ok((StatusCode::CREATED, Json(json!({"id": id}))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignedBy {
    account_id: Option<String>,
    by: String,
}

async fn assign(State(services): State<Services>, Path(key): Path<String>, body: Bytes) -> Answer {
    let AssignedBy { account_id, by } = read(&body)?;
    services.jira.assign(&key, account_id.as_deref(), &by)?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MovedBy {
    status: String,
    by: String,
}

async fn set_status(State(services): State<Services>, Path(key): Path<String>, body: Bytes) -> Answer {
    let MovedBy { status, by } = read(&body)?;
    services.jira.set_status(&key, &status, &by)?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelledBy {
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    by: String,
}

async fn label(State(services): State<Services>, Path(key): Path<String>, body: Bytes) -> Answer {
    let LabelledBy { add, remove, by } = read(&body)?;
    services.jira.label(&key, &add, &remove, &by)?;
    done()
}
