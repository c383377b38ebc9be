//! What every REST request passes first: user agent, version, credentials, rate limit.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::GitHub;
use super::answers::{self, Parts, rate_headers};
use super::call::Reply;
use super::state::{TokenKind, now_seconds};

/// The version that is meant when none is asked for, see <https://docs.github.com/rest/about-the-rest-api/api-versions>.
const DEFAULT_VERSION: &str = "2022-11-28";
/// The version that drops what `2022-11-28` has twice.
pub(super) const LEAN_VERSION: &str = "2026-03-10";
/// Requests per hour without a token.
const ANONYMOUS_LIMIT: u64 = 60;

/// Who asks, and in which version of the API.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub login: Option<String>,
    pub kind: Option<TokenKind>,
    pub lean: bool,
    /// Limit, use and reset of the requests, for the headers and for `/rate_limit`.
    pub rate: (u64, u64, i64),
}

pub(super) async fn pass(State(github): State<GitHub>, mut request: Request, next: Next) -> Response {
    let admitted = github.admit(&request);
    let (rate, mut response) = match admitted {
        Ok(caller) => {
            let rate = caller.rate;
            request.extensions_mut().insert(caller);
            (rate, next.run(request).await)
        }
        Err(parts) => ((ANONYMOUS_LIMIT, 1, now_seconds()), Reply(*parts).into_response()),
    };
    let headers = response.headers_mut();
    for (name, value) in rate_headers(rate.0, rate.1, rate.2) {
        set_default(headers, &name, &value);
    }
    set_default(headers, "x-github-media-type", "github.v3; format=json");
    set_default(headers, "x-github-request-id", "0AF1:22B3:1C4D5:2E6F7:65A8B9C0");
    response
}

impl GitHub {
    fn admit(&self, request: &Request) -> Result<Caller, Box<Parts>> {
        let headers = request.headers();
        let path = request.uri().path();
        if text(headers, header::USER_AGENT.as_str()).is_none_or(str::is_empty) {
            self.problems().report(format!("GitHub: {} {path} came without User-Agent", request.method()));
            return Err(Box::new(answers::missing_user_agent()));
        }
        let version = text(headers, "x-github-api-version").unwrap_or(DEFAULT_VERSION);
        if ![DEFAULT_VERSION, LEAN_VERSION].contains(&version) {
            self.problems().report(format!("GitHub: {path} asks for the unknown API version {version:?}"));
            return Err(Box::new(answers::message(
                400,
                &format!("{version:?} is not a supported API version."),
            )));
        }
        let lean = version == LEAN_VERSION;
        let Some(authorization) = text(headers, header::AUTHORIZATION.as_str()) else {
            return Ok(Caller {
                login: None,
                kind: None,
                lean,
                rate: (ANONYMOUS_LIMIT, 1, now_seconds() + 3_600),
            });
        };
        let secret = bearer(authorization).unwrap_or_default();
        let mut store = self.store();
        let Some(token) = store.use_token(secret) else {
            return Err(Box::new(answers::bad_credentials()));
        };
        if !path.ends_with("/rate_limit") && !token.is_within_limit() {
            let reset_in = u64::try_from(token.resets_at - now_seconds()).unwrap_or_default();
            return Err(Box::new(answers::primary_limit(reset_in)));
        }
        let rate = (token.limit, token.used, token.resets_at);
        Ok(Caller { login: Some(token.login.clone()), kind: Some(token.kind), lean, rate })
    }
}

/// The token of `Bearer …` or `token …`.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let known = ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then(|| token.trim())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn set_default(headers: &mut HeaderMap, name: &str, value: &str) {
    let (Ok(name), Ok(value)) = (header::HeaderName::try_from(name), HeaderValue::from_str(value)) else {
        return;
    };
    headers.entry(name).or_insert(value);
}
