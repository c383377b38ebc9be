//! Reading a request strictly: who calls, which parameters, which body.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{Request, StatusCode, header, request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;

use super::Jira;
use super::error::JiraError;

/// The request came through the gateway of scoped tokens, `/ex/jira/{cloudId}`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThroughGateway;

/// The account that calls: the proof that the credentials were right.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

impl FromRequestParts<Jira> for Caller {
    type Rejection = JiraError;

    async fn from_request_parts(head: &mut request::Parts, jira: &Jira) -> Result<Self, JiraError> {
        let gateway = head.extensions.get::<ThroughGateway>().is_some();
        let refused = if gateway { JiraError::gateway_unauthorized } else { JiraError::unauthorized };
        let state = jira.lock();
        if state.settings.scoped_token && !gateway {
            return Err(refused());
        }
        let (email, token) = basic(head).ok_or_else(refused)?;
        let known = state.credentials.iter().find(|it| it.email == email && it.token == token);
        known.map(|it| Self(it.account_id.clone())).ok_or_else(refused)
    }
}

fn basic(head: &request::Parts) -> Option<(String, String)> {
    let value = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let encoded = value.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(email, token)| (email.to_owned(), token.to_owned()))
}

/// The query's parameters; a repeated one is joined by commas.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The comma-separated words of a parameter.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let value = self.get(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

/// A request whose caller is known, taken apart by [`Input::params`] and [`Input::body`].
#[derive(Debug)]
pub(super) struct Input {
    pub(super) caller: String,
    what: Arc<str>,
    params: Params,
    json: bool,
    bytes: axum::body::Bytes,
}

impl FromRequest<Jira> for Input {
    type Rejection = JiraError;

    async fn from_request(request: Request<Body>, jira: &Jira) -> Result<Self, JiraError> {
        let (mut head, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut head, jira).await?.0;
        let what: Arc<str> = format!("{} {}", head.method, head.uri).into();
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
        let pairs = pairs.map_err(|problem| {
            jira.malformed(&what, JiraError::message(StatusCode::BAD_REQUEST, problem.to_string()))
        })?;
        let kind =
            head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let json =
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        let bytes = to_bytes(body, usize::MAX)
            .await
            .map_err(|_| JiraError::message(StatusCode::BAD_REQUEST, "no body"))?;
        Ok(Self { caller, what, params: Params(pairs.0), json, bytes })
    }
}

impl Input {
    /// The parameters; one that the endpoint does not know is a problem, and 400.
    pub(super) fn params(&self, jira: &Jira, known: &[&str]) -> Result<&Params, JiraError> {
        match self.params.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(&self.params),
            Some((name, _)) => {
                let message = format!("The query parameter '{name}' is not one of {}.", known.join(", "));
                Err(self.malformed(jira, JiraError::message(StatusCode::BAD_REQUEST, message)))
            }
        }
    }

    /// A parameter that is a number.
    pub(super) fn number(&self, jira: &Jira, name: &str, default: usize) -> Result<usize, JiraError> {
        let Some(value) = self.params.get(name) else {
            return Ok(default);
        };
        value.parse().map_err(|_| {
            let message = format!("The query parameter '{name}' is '{value}', not a number.");
            self.malformed(jira, JiraError::message(StatusCode::BAD_REQUEST, message))
        })
    }

    /// The body as JSON of exactly this form; anything else is a problem, and 400 or 415.
    pub(super) fn body<T: DeserializeOwned>(&self, jira: &Jira) -> Result<T, JiraError> {
        if !self.json {
            let message = "The content type must be application/json.";
            return Err(self.malformed(jira, JiraError::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)));
        }
        serde_json::from_slice(&self.bytes).map_err(|problem| {
            let message = format!("Invalid request payload. {problem}");
            self.malformed(jira, JiraError::message(StatusCode::BAD_REQUEST, message))
        })
    }

    /// How many characters the body has.
    pub(super) fn body_chars(&self) -> usize {
        String::from_utf8_lossy(&self.bytes).chars().count()
    }

    /// Reports an answer as one to a request that a right client does not send.
    pub(super) fn malformed(&self, jira: &Jira, error: JiraError) -> JiraError {
        jira.malformed(&self.what, error)
    }
}
