//! Accounts and the site itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Jira;
use super::error::{Answer, JiraError};
use super::request::Input;
use super::wire::time;

/// `GET /rest/api/3/myself`.
pub(super) async fn myself(State(jira): State<Jira>, input: Input) -> Answer {
    input.params(&jira, &["expand"])?;
    let state = jira.lock();
    let mut user = jira.wire(&state).user(&input.caller);
    user["locale"] = json!("en_US");
    user["groups"] = json!({"size": 1, "items": []});
    user["applicationRoles"] = json!({"size": 1, "items": []});
    user["expand"] = json!("groups,applicationRoles");
    Ok(Json(user).into_response())
}

/// `GET /rest/api/3/serverInfo`.
pub(super) async fn server_info(State(jira): State<Jira>, input: Input) -> Answer {
    input.params(&jira, &[])?;
    let info = json!({
        "baseUrl": jira.site(),
        "displayUrl": jira.site(),
        "version": "1001.0.0-SNAPSHOT",
        "versionNumbers": [1001, 0, 0],
        "deploymentType": "Cloud",
        "buildNumber": 100_290,
        "buildDate": "2026-01-01T00:00:00.000+0000",
        "serverTime": time(Timestamp::now()),
        "scmInfo": "simulated",
        "serverTitle": "Jira",
        "defaultLocale": {"locale": "en_US"},
    });
    Ok(Json(info).into_response())
}

/// `GET /_edge/tenant_info`: where the site's cloud id is read.
pub(super) async fn tenant_info() -> Json<Value> {
    Json(json!({"cloudId": Jira::CLOUD_ID}))
}

/// `GET /rest/api/3/user?accountId=…`.
pub(super) async fn one(State(jira): State<Jira>, input: Input) -> Answer {
    let params = input.params(&jira, &["accountId", "expand"])?;
    let Some(account) = params.get("accountId") else {
        let message = "The query parameter 'accountId' is missing.";
        return Err(input.malformed(&jira, JiraError::message(StatusCode::BAD_REQUEST, message)));
    };
    let state = jira.lock();
    match jira.wire(&state).user(&account) {
        Value::Null => {
            Err(JiraError::not_found("Specified user does not exist or you do not have required permissions"))
        }
        user => Ok(Json(user).into_response()),
    }
}

/// `GET /rest/api/3/users` and `/users/search`.
pub(super) async fn all(State(jira): State<Jira>, input: Input) -> Answer {
    input.params(&jira, &["startAt", "maxResults"])?;
    let (start, count) = (input.number(&jira, "startAt", 0)?, input.number(&jira, "maxResults", 50)?);
    let state = jira.lock();
    let wire = jira.wire(&state);
    let users: Vec<Value> =
        state.users.keys().skip(start).take(count).map(|account| wire.user(account)).collect();
    Ok(Json(users).into_response())
}
