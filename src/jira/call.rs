//! Sending: the authorisation, and what a refusal means.

use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::{Jira, JiraError, wire};
use crate::config::JiraDeployment;
use crate::http::{HttpError, Response, host};
use crate::rest::Call;

impl Jira {
    /// Sends the call and reads the answer as JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, call: &Call) -> Result<T, JiraError> {
        let response = self.send(call).await?;
        serde_json::from_slice(&response.body).map_err(|error| {
            let kind = response.headers.get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
            JiraError::unexpected(call, format!(
                "{} sent {kind} that is not the JSON of Jira's API ({error}); is jira.url the address of a Jira Cloud site?",
                host(&self.inner.api)
            ))
        })
    }

    pub(super) async fn send(&self, call: &Call) -> Result<Response, JiraError> {
        let inner = &self.inner;
        let url = call.url(&inner.api, &["rest", "api", self.api_version()]);
        let request = call.request(&inner.http, url).header(header::ACCEPT, "application/json");
        let request = match inner.deployment {
            JiraDeployment::Cloud => request.basic_auth(&inner.email, Some(inner.token.expose())),
        };
        let request =
            request.build().map_err(|error| JiraError::unexpected(call, error.without_url().to_string()))?;
        let response = match inner.http.send(request, call.safety).await {
            Ok(response) => response,
            Err(error) => return Err(judge(call, error)),
        };
        if response.status.is_redirection() {
            let location = response.headers.get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok()).unwrap_or("nowhere");
            let location = location.split(['?', '#']).next().unwrap_or_default();
            return Err(JiraError::unexpected(
                call,
                format!(
                    "it redirects to {location}; set jira.url (or jira.api_url) to the address that answers itself"
                ),
            ));
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
        StatusCode::FORBIDDEN => {
            JiraError::Forbidden { what, grant: call.grant, message: wire::Refusal::read(body).message() }
        }
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
