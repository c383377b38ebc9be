//! One request: its address, its authorisation, and what a refusal means.

use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Jira, JiraError, wire};
use crate::config::JiraDeployment;
use crate::http::{HttpError, Response, Safety, host, safety_of};

/// A request to the REST API.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    safety: Safety,
    /// What it is about, for messages: "the comments of PROJ-1".
    what: String,
    /// The permission that it needs, for messages.
    grant: &'static str,
}

impl Call {
    pub(super) fn new(method: Method, what: impl Into<String>, grant: &'static str) -> Self {
        Self {
            safety: safety_of(&method),
            method,
            path: Vec::new(),
            query: Vec::new(),
            body: None,
            what: what.into(),
            grant,
        }
    }

    pub(super) fn get(what: impl Into<String>, grant: &'static str) -> Self {
        Self::new(Method::GET, what, grant)
    }

    /// The path below `rest/api/<version>`, segment by segment.
    pub(super) fn at<Segment: ToString>(mut self, path: impl IntoIterator<Item = Segment>) -> Self {
        self.path
            .extend(path.into_iter().map(|segment| segment.to_string()));
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Says that a POST may be repeated.
    pub(super) fn repeatable(mut self) -> Self {
        self.safety = Safety::Idempotent;
        self
    }

    pub(super) fn unexpected(&self, why: impl Into<String>) -> JiraError {
        JiraError::Unexpected {
            what: self.what.clone(),
            why: why.into(),
        }
    }
}

impl Jira {
    /// Sends the call and reads the answer as JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, call: &Call) -> Result<T, JiraError> {
        let response = self.send(call).await?;
        serde_json::from_slice(&response.body).map_err(|error| {
            let kind = response.headers.get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
            call.unexpected(format!(
                "{} sent {kind} that is not the JSON of Jira's API ({error}); is jira.url the address of a Jira Cloud site?",
                host(&self.inner.api)
            ))
        })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Response, JiraError> {
        let inner = &self.inner;
        let mut url = inner.api.clone();
        url.path_segments_mut()
            .map_err(|()| call.unexpected("jira.api_url is not an http address"))?
            .pop_if_empty()
            .extend(["rest", "api", self.api_version()])
            .extend(&call.path);
        let mut request = inner
            .http
            .client()
            .request(call.method.clone(), url)
            .header(header::ACCEPT, "application/json");
        request = match inner.deployment {
            JiraDeployment::Cloud => request.basic_auth(&inner.email, Some(inner.token.expose())),
        };
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let request = request
            .build()
            .map_err(|error| call.unexpected(error.without_url().to_string()))?;
        let response = match inner.http.send(request, call.safety).await {
            Ok(response) => response,
            Err(error) => return Err(judge(call, error)),
        };
        if response.status.is_redirection() {
            let location = response.headers.get(header::LOCATION);
            let location = location
                .and_then(|location| location.to_str().ok())
                .unwrap_or("nowhere");
            let location = location.split(['?', '#']).next().unwrap_or_default();
            return Err(call.unexpected(format!(
                "it redirects to {location}; set jira.url (or jira.api_url) to the address that answers itself"
            )));
        }
        Ok(response)
    }
}

fn judge(call: &Call, error: HttpError) -> JiraError {
    let HttpError::Status { host, status, body } = &error else {
        return error.into();
    };
    let what = call.what.clone();
    match *status {
        StatusCode::UNAUTHORIZED => JiraError::Unauthorized { host: host.clone() },
        StatusCode::FORBIDDEN => JiraError::Forbidden {
            what,
            grant: call.grant,
            message: wire::Refusal::read(body).message(),
        },
        StatusCode::NOT_FOUND => JiraError::NotFound { what },
        status if status.is_client_error() && !error.is_transient() => {
            let refusal = wire::Refusal::read(body);
            JiraError::Invalid {
                what,
                message: refusal.message(),
                fields: refusal.errors.into_keys().collect(),
            }
        }
        _ => error.into(),
    }
}
