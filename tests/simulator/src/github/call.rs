//! One REST request, from its address and body to its answer.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts as RequestParts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::GitHub;
use super::answers::{self, Parts, lacking_right};
use super::gate::Caller;
use super::render::{Urls, View};
use super::state::{Ids, Issue, Permission, Repository, Users};

/// An answer to be sent.
pub(super) struct Reply(pub Parts);

impl Reply {
    fn internal(error: impl ToString) -> Self {
        Self(answers::message(500, &error.to_string()))
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (status, headers, body) = self.0;
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text,
            json => json.to_string(),
        };
        let mut response = body.into_response();
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// What a handler gives: an answer either way.
pub(super) type Answered = Result<Parts, Parts>;

/// An answer with a body and no headers of its own.
pub(super) fn answer(status: u16, body: Value) -> Answered {
    Ok((status, Vec::new(), body))
}

/// The request without its body.
pub(super) struct Call {
    pub github: GitHub,
    pub caller: Caller,
    pub urls: Urls,
    pub path: String,
    pub query: String,
    pub accept: String,
    reading: bool,
    parameters: BTreeMap<String, String>,
}

impl FromRequestParts<GitHub> for Call {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut RequestParts, github: &GitHub) -> Result<Self, Reply> {
        let given = RawPathParams::from_request_parts(parts, github).await.map_err(Reply::internal)?;
        let parameters = given.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let caller = parts.extensions.get::<Caller>().cloned();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self {
            github: github.clone(),
            caller: caller.ok_or_else(|| Reply::internal("the request did not pass the gate"))?,
            urls: Urls::new(text(header::HOST)),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            accept: text(header::ACCEPT).to_owned(),
            reading: parts.method.is_safe(),
            parameters,
        })
    }
}

impl<'a> Scope<'a> {
    /// What answers are written from.
    pub fn view(&self) -> View<'_> {
        View { urls: &self.call.urls, users: self.users, repository: self.repository }
    }

    /// The number or id in the address; GitHub has nothing under another word.
    pub fn number(&self, name: &str) -> Result<u64, Parts> {
        self.call.parameter(name).parse().map_err(|_| answers::not_found())
    }

    /// The issue or pull request of the address.
    pub fn issue(&mut self) -> Result<&mut Issue, Parts> {
        let number = self.number("number")?;
        self.repository.issues.get_mut(&number).ok_or_else(answers::not_found)
    }

    /// Whether the caller has a right here.
    pub fn may(&self, needed: Permission) -> bool {
        self.repository.permission(self.call.caller.login.as_deref()) >= needed
    }
}

/// What a handler works with: one repository, and what belongs to all.
pub(super) struct Scope<'a> {
    pub repository: &'a mut Repository,
    pub users: &'a Users,
    pub ids: &'a mut Ids,
    pub call: &'a Call,
}

impl Call {
    /// A part of the address.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The login of who asks; 401 when that is nobody.
    pub fn login(&self) -> Result<&str, Parts> {
        self.caller.login.as_deref().ok_or_else(answers::requires_authentication)
    }

    /// Works on the repository of the address, for which the caller needs a right there. Runs where blocking is allowed.
    pub async fn in_repository<F>(self, needed: Permission, work: F) -> Reply
    where
        F: FnOnce(&mut Scope<'_>) -> Answered + Send + 'static,
    {
        let lean = self.caller.lean;
        let worked = tokio::task::spawn_blocking(move || self.work(needed, work)).await;
        let Ok(worked) = worked else {
            return Reply::internal("the simulator's handler panicked");
        };
        let (status, headers, mut body) = worked.unwrap_or_else(|refused| refused);
        if lean {
            drop_doubles(&mut body);
        }
        Reply((status, headers, body))
    }

    fn work(self, needed: Permission, work: impl FnOnce(&mut Scope<'_>) -> Answered) -> Answered {
        let slug = format!("{}/{}", self.parameter("owner"), self.parameter("repo"));
        let github = self.github.clone();
        let mut store = github.store();
        let store = &mut *store;
        if let Some(new_slug) = store.renamed.get(&slug.to_lowercase()) {
            return Err(self.moved(&slug, new_slug));
        }
        let repository = store.repositories.get_mut(&slug.to_lowercase()).ok_or_else(answers::not_found)?;
        let permission = repository.permission(self.caller.login.as_deref());
        if permission < Permission::Read {
            return Err(answers::not_found());
        }
        if !self.reading {
            self.login()?;
        }
        if permission < needed {
            return Err(lacking_right(self.caller.kind));
        }
        if !self.reading && repository.archived {
            return Err(answers::message(403, "Repository was archived so is read-only."));
        }
        work(&mut Scope { repository, users: &store.users, ids: &mut store.ids, call: &self })
    }

    /// The repository has another slug now: 301, or 307 where the request must be repeated as it is.
    fn moved(&self, old: &str, new: &str) -> Parts {
        let path = self.path.replacen(&format!("/repos/{old}"), &format!("/repos/{new}"), 1);
        let question = if self.query.is_empty() { "" } else { "?" };
        let location = format!("{}{path}{question}{}", self.urls.web(), self.query);
        let (_, mut headers, mut body) = answers::message(301, "Moved Permanently");
        body["url"] = location.clone().into();
        headers.push(("location".to_owned(), location));
        (if self.reading { 301 } else { 307 }, headers, body)
    }
}

/// Takes out what the version 2026-03-10 no longer has.
fn drop_doubles(body: &mut Value) {
    match body {
        Value::Array(items) => items.iter_mut().for_each(drop_doubles),
        Value::Object(fields) => {
            if fields.contains_key("assignees") {
                fields.remove("assignee");
            }
            fields.remove("merge_commit_sha");
            fields.values_mut().for_each(drop_doubles);
        }
        _ => {}
    }
}

/// A JSON body that has exactly the fields of `T`; anything else is refused and reported.
pub(super) struct Strict<T>(pub T);

impl<T: DeserializeOwned> FromRequest<GitHub> for Strict<T> {
    type Rejection = Reply;

    async fn from_request(request: Request, github: &GitHub) -> Result<Self, Reply> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let refuse = |status, text: String| {
            github.problems().report(format!("GitHub: {asked}: {text}"));
            Reply(answers::message(status, &text))
        };
        let bytes =
            Bytes::from_request(request, github).await.map_err(|error| refuse(413, error.to_string()))?;
        let json: Value = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(400, format!("Problems parsing JSON ({error})")))?;
        let read = serde_json::from_value(json)
            .map_err(|error| refuse(422, format!("Invalid request.\n\n{error}")))?;
        Ok(Self(read))
    }
}

/// The query, which has no other fields than those of `T`; anything else is refused and reported.
pub(super) struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<GitHub> for Asked<T> {
    type Rejection = Reply;

    async fn from_request_parts(parts: &mut RequestParts, github: &GitHub) -> Result<Self, Reply> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(read)) => Ok(Self(read)),
            Err(error) => {
                github.problems().report(format!("GitHub: {} {}: {error}", parts.method, parts.uri));
                Err(Reply(answers::message(422, &format!("Invalid request.\n\n{error}"))))
            }
        }
    }
}
