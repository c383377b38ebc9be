//! Jira's error answers.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is not a success, in the form `{"errorMessages": […], "errors": {…}}`.
#[derive(Debug)]
pub(super) struct JiraError {
    status: StatusCode,
    body: Value,
}

/// The result of a handler.
pub(super) type Answer = Result<Response, JiraError>;

impl JiraError {
    /// An answer with one message.
    pub(super) fn message(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: json!({"errorMessages": [message.into()], "errors": {}}) }
    }

    /// 400 about fields.
    pub(super) fn fields<'a>(errors: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let errors: BTreeMap<&str, String> = errors.into_iter().collect();
        Self { status: StatusCode::BAD_REQUEST, body: json!({"errorMessages": [], "errors": errors}) }
    }

    /// 400 about one field.
    pub(super) fn field(name: &str, message: impl Into<String>) -> Self {
        Self::fields([(name, message.into())])
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::message(StatusCode::NOT_FOUND, message)
    }

    /// 404 of an issue that does not exist or cannot be seen: Jira does not tell which.
    pub(super) fn no_issue() -> Self {
        Self::not_found("Issue does not exist or you do not have permission to see it.")
    }

    /// 401 of the site.
    pub(super) fn unauthorized() -> Self {
        let body =
            json!({"message": "Client must be authenticated to access this resource.", "status-code": 401});
        Self { status: StatusCode::UNAUTHORIZED, body }
    }

    /// 401 of the gateway.
    pub(super) fn gateway_unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, body: json!({"code": 401, "message": "Unauthorized"}) }
    }

    /// The reason as it stands in the answer.
    pub(super) fn reason(&self) -> String {
        self.body.to_string()
    }
}

impl IntoResponse for JiraError {
    fn into_response(self) -> Response {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let mut response = (self.status, Json(self.body)).into_response();
        if unauthorized {
            let headers = response.headers_mut();
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("OAuth realm=\"https%3A%2F%2Fsite\""),
            );
            headers.insert("x-seraph-loginreason", HeaderValue::from_static("AUTHENTICATED_FAILED"));
        }
        response
    }
}
