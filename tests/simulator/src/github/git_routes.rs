//! Git over HTTP: who may fetch and push, with GitHub's answers to those who may not.
//!
//! See <https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#authenticating-with-the-command-line>.

use std::ffi::OsString;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::GitHub;
use super::git::environment;
use super::inspect::FetchRecord;
use super::state::{Permission, Repository, Store, TokenKind};
use crate::git_http::{Disturbance, Exchange, GitService};

#[derive(Deserialize)]
pub(super) struct Advertisement {
    service: Option<String>,
}

/// `GET /{owner}/{repository}/info/refs`: the refs, which open an exchange.
pub(super) async fn refs(
    State(github): State<GitHub>,
    Path((owner, name)): Path<(String, String)>,
    Query(query): Query<Advertisement>,
    request: Request<Body>,
) -> Response<Body> {
    let Some(service) = query.service.as_deref().and_then(GitService::from_name) else {
        return refusal(StatusCode::FORBIDDEN, "Please upgrade your git client.");
    };
    answer(github, &owner, &name, Asked { service, action: "info/refs" }, request).await
}

/// `POST /{owner}/{repository}/git-upload-pack`: a fetch.
pub(super) async fn upload_pack(
    State(github): State<GitHub>,
    Path((owner, name)): Path<(String, String)>,
    request: Request<Body>,
) -> Response<Body> {
    answer(
        github,
        &owner,
        &name,
        Asked { service: GitService::UploadPack, action: "git-upload-pack" },
        request,
    )
    .await
}

/// `POST /{owner}/{repository}/git-receive-pack`: a push.
pub(super) async fn receive_pack(
    State(github): State<GitHub>,
    Path((owner, name)): Path<(String, String)>,
    request: Request<Body>,
) -> Response<Body> {
    answer(
        github,
        &owner,
        &name,
        Asked { service: GitService::ReceivePack, action: "git-receive-pack" },
        request,
    )
    .await
}

#[derive(Clone, Copy)]
struct Asked {
    service: GitService,
    action: &'static str,
}

async fn answer(
    github: GitHub,
    owner: &str,
    name: &str,
    asked: Asked,
    request: Request<Body>,
) -> Response<Body> {
    let slug = format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name));
    let credentials = Credentials::of(request.headers());
    let suffix = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let suffix = suffix.strip_prefix(&format!("/{owner}/{name}")).unwrap_or_default().to_owned();
    let admitted =
        tokio::task::spawn_blocking(move || github.store().admit(&slug, asked, credentials, &suffix)).await;
    match admitted {
        Ok(Ok(exchange)) => exchange.serve(request).await,
        Ok(Err(response)) => *response,
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The name and the secret of HTTP Basic authentication.
struct Credentials {
    username: String,
    secret: String,
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded =
            BASE64_STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let (username, secret) =
            String::from_utf8(decoded).ok()?.split_once(':').map(|(u, s)| (u.to_owned(), s.to_owned()))?;
        Some(Self { username, secret })
    }

    /// The token: the password, or the name when there is no password.
    fn token(&self) -> &str {
        if matches!(self.secret.as_str(), "" | "x-oauth-basic") { &self.username } else { &self.secret }
    }
}

impl Store {
    /// Decides about a request; an admitted one is ready to be run.
    fn admit(
        &mut self,
        slug: &str,
        asked: Asked,
        credentials: Option<Credentials>,
        suffix: &str,
    ) -> Result<Exchange, Box<Response<Body>>> {
        if let Some(new_slug) = self.renamed.get(&slug.to_lowercase()) {
            let location = format!("/{new_slug}.git{suffix}");
            return Err(Box::new(
                (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
            ));
        }
        let pushing = asked.service == GitService::ReceivePack;
        let holder = match &credentials {
            None => None,
            Some(credentials) => match self.use_token(credentials.token()) {
                Some(token) => Some((token.login.clone(), token.kind)),
                None => {
                    return Err(challenge(
                        "Invalid username or token. Password authentication is not supported for Git operations.",
                    ));
                }
            },
        };
        let login = holder.as_ref().map(|(login, _)| login.as_str());
        let Some(repository) = self.repositories.get(&slug.to_lowercase()) else {
            return Err(unseen(login));
        };
        let permission = repository.permission(login);
        if permission < Permission::Read {
            return Err(unseen(login));
        }
        if pushing {
            let Some(login) = login else {
                return Err(challenge("No anonymous write access."));
            };
            if permission < Permission::Write {
                let text = format!("Permission to {}.git denied to {login}.", repository.slug());
                return Err(Box::new(refusal(StatusCode::FORBIDDEN, &text)));
            }
            if repository.archived {
                let text = "This repository was archived so it is read-only.";
                return Err(Box::new(refusal(StatusCode::FORBIDDEN, text)));
            }
        }
        let in_body = asked.action != "info/refs";
        let disturbance =
            if in_body { self.disturbances.of(slug, asked.service) } else { Disturbance::default() };
        if in_body && !pushing {
            let username = credentials.as_ref().map(|credentials| credentials.username.clone());
            self.fetches.push(FetchRecord {
                repository: repository.slug(),
                username,
                login: login.map(str::to_owned),
            });
        }
        Ok(Exchange {
            repository: repository.git.directory().to_owned(),
            action: asked.action,
            pusher: login.filter(|_| pushing).map(str::to_owned),
            environment: self.variables(repository, holder.as_ref()),
            disturbance,
        })
    }

    /// The variables for git and for our hooks.
    fn variables(
        &self,
        repository: &Repository,
        holder: Option<&(String, TokenKind)>,
    ) -> Vec<(&'static str, OsString)> {
        let mut variables = environment(repository.git.directory());
        if let (Some(root), Some((login, kind))) = (&self.root, holder) {
            let kind = if *kind == TokenKind::Installation { "app" } else { "personal" };
            variables.push(("SIMULATOR_PUSH_LOG", root.path().join("pushes").into()));
            variables.push(("SIMULATOR_REPOSITORY", repository.slug().into()));
            variables.push(("SIMULATOR_LOGIN", login.into()));
            variables.push(("SIMULATOR_TOKEN_KIND", kind.into()));
        }
        variables
    }
}

/// A repository that is not there, or not for these eyes: GitHub does not let on which.
fn unseen(login: Option<&str>) -> Box<Response<Body>> {
    match login {
        None => challenge("Repository not found."),
        Some(_) => Box::new(refusal(StatusCode::NOT_FOUND, "Repository not found.")),
    }
}

fn challenge(text: &str) -> Box<Response<Body>> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, text);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"GitHub\""));
    Box::new(response)
}

fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], text.to_owned()).into_response()
}
