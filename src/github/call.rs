//! Sending: the authorisation, redirects, pages, and what a refusal means.

use reqwest::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use url::Url;

use super::{GitHub, GitHubError, wire};
use crate::domain::RepoSlug;
use crate::http::{HttpError, Response, host};
use crate::rest::Call;

/// How many redirects of one request are followed.
const REDIRECTS: usize = 3;

/// Elements in one page, and how many pages are read at most.
const PAGE: usize = 100;
const PAGES: usize = 100;

/// A call about a repository.
pub(super) fn on(method: Method, repository: &RepoSlug, what: &str, grant: &'static str) -> Call {
    Call::new(method, format!("{what} of {repository}"), grant).at([
        "repos",
        repository.owner(),
        repository.name(),
    ])
}

impl GitHub {
    /// Sends the call and reads the answer as JSON.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        repository: Option<&RepoSlug>,
        call: &Call,
    ) -> Result<T, GitHubError> {
        let response = self.send(repository, call).await?;
        self.parse(call, &response)
    }

    /// All elements of a list that comes in pages.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        repository: &RepoSlug,
        call: &Call,
    ) -> Result<Vec<T>, GitHubError> {
        let mut all: Vec<T> = Vec::new();
        for page in 1..=PAGES {
            let call = call.clone().query("per_page", PAGE).query("page", page);
            let response = self.send(Some(repository), &call).await?;
            let elements: Vec<T> = self.parse(&call, &response)?;
            let count = elements.len();
            all.extend(elements);
            let link = response.headers.get(header::LINK).and_then(|link| link.to_str().ok());
            let has_next = link.map_or(count >= PAGE, |link| link.contains("rel=\"next\""));
            if !has_next || count == 0 {
                return Ok(all);
            }
        }
        tracing::warn!(repo = %repository, "{} has more than {} elements; the rest is not read", call.what, all.len());
        Ok(all)
    }

    fn parse<T: DeserializeOwned>(&self, call: &Call, response: &Response) -> Result<T, GitHubError> {
        serde_json::from_slice(&response.body).map_err(|error| {
            GitHubError::unexpected(
                call,
                format!(
                    "{} sent what is not the JSON of GitHub's API ({error}); is github.api_url its address (https://HOST/api/v3 \
                     for an Enterprise Server)?",
                    host(&self.inner.api)
                ),
            )
        })
    }

    /// Sends the call and follows redirects that stay on the API's host: a renamed repository answers so.
    pub(super) async fn send(
        &self,
        repository: Option<&RepoSlug>,
        call: &Call,
    ) -> Result<Response, GitHubError> {
        let inner = &self.inner;
        let token = inner.credentials.token(repository).await?;
        let mut url = call.url(&inner.api, &[]);
        for _ in 0..=REDIRECTS {
            let mut request = call
                .request(&inner.http, url.clone())
                .header(header::ACCEPT, "application/vnd.github+json")
                .header("x-github-api-version", "2022-11-28");
            if !token.is_empty() {
                request = request.bearer_auth(token.expose());
            }
            let request = request
                .build()
                .map_err(|error| GitHubError::unexpected(call, error.without_url().to_string()))?;
            let response = match inner.http.send(request, call.safety).await {
                Ok(response) => response,
                Err(error) => return Err(judge(call, error)),
            };
            if !response.status.is_redirection() {
                return Ok(response);
            }
            url = target(call, &url, &response)?;
            tracing::warn!(
                path = url.path(),
                "{} has moved; give its new name in the configured routes",
                call.what
            );
        }
        Err(GitHubError::unexpected(call, format!("more than {REDIRECTS} redirects")))
    }
}

/// Where a redirect leads, when it may be followed: one that asks for the same request elsewhere on the same origin
/// (<https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects>). After
/// a 301 a write could arrive as a read, so there only a GET is sent again.
fn target(call: &Call, from: &Url, response: &Response) -> Result<Url, GitHubError> {
    let location = response.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let Some(mut target) = target else {
        return Err(GitHubError::unexpected(call, "a redirect to nowhere"));
    };
    let status = response.status.as_u16();
    let same_request = matches!(status, 307 | 308) || (status == 301 && call.method == Method::GET);
    if !same_request || target.origin() != from.origin() {
        let shown = format!("{}{}", target.origin().ascii_serialization(), target.path());
        return Err(GitHubError::unexpected(
            call,
            format!(
                "it has moved to {shown}; give its new name in the configured routes (or github.api_url)"
            ),
        ));
    }
    if target.query().is_none() {
        target.set_query(from.query());
    }
    Ok(target)
}

fn judge(call: &Call, error: HttpError) -> GitHubError {
    let HttpError::Status { host, status, body } = &error else {
        return error.into();
    };
    let what = call.what.clone();
    match *status {
        StatusCode::UNAUTHORIZED => GitHubError::Unauthorized { host: host.clone() },
        StatusCode::FORBIDDEN => {
            GitHubError::Forbidden { what, grant: call.grant, message: wire::Refusal::read(body).message() }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => GitHubError::NotFound { what },
        status if status.is_client_error() && !error.is_transient() => {
            let refusal = wire::Refusal::read(body);
            GitHubError::Invalid { what, message: refusal.message(), fields: refusal.fields() }
        }
        _ => error.into(),
    }
}
