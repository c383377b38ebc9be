//! Which handler answers which address.

use axum::extract::{Request, State};
use axum::routing::{any, delete, get, post};
use axum::{Router, middleware};

use super::call::Reply;
use super::{
    GitHub, answers, comments, contents, gate, git_routes, graphql, issues, labels, pulls, repositories,
    reviewers,
};

pub(super) fn router(github: GitHub) -> Router {
    let api = Router::new()
        .route("/api/graphql", post(graphql::run))
        .route("/api/v3/user", get(repositories::authenticated_user))
        .route("/api/v3/rate_limit", get(repositories::rate_limit))
        .merge(repository())
        .route("/api/v3", any(unknown))
        .route("/api/v3/{*rest}", any(unknown))
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(github.clone(), gate::pass));
    let git = Router::new()
        .route("/{owner}/{repo}/info/refs", get(git_routes::refs))
        .route("/{owner}/{repo}/git-upload-pack", post(git_routes::upload_pack))
        .route("/{owner}/{repo}/git-receive-pack", post(git_routes::receive_pack));
    api.merge(git).fallback(unknown).with_state(github)
}

fn repository() -> Router<GitHub> {
    Router::new()
        .route(&at(""), get(repositories::get))
        .route(&at("/branches/{*branch}"), get(repositories::branch))
        .route(&at("/collaborators/{user}/permission"), get(repositories::permission))
        .route(&at("/commits/{*reference}"), get(repositories::commit))
        .route(&at("/contents"), get(contents::get))
        .route(&at("/contents/"), get(contents::get))
        .route(&at("/contents/{*path}"), get(contents::get))
        .route(&at("/git/ref/{*reference}"), get(repositories::reference))
        .route(
            &at("/issues/comments/{id}"),
            get(comments::get).patch(comments::update).delete(comments::delete),
        )
        .route(&at("/issues/{number}"), get(issues::get).patch(issues::update))
        .route(&at("/issues/{number}/assignees"), post(issues::assign).delete(issues::unassign))
        .route(&at("/issues/{number}/comments"), get(comments::list).post(comments::create))
        .route(&at("/issues/{number}/labels"), get(labels::list).post(labels::add))
        .route(&at("/issues/{number}/labels/{name}"), delete(labels::remove))
        .route(&at("/labels"), post(labels::create))
        .route(&at("/pulls"), get(pulls::list).post(pulls::create))
        .route(&at("/pulls/{number}"), get(pulls::get).patch(pulls::update))
        .route(&at("/pulls/{number}/requested_reviewers"), post(reviewers::request))
}

/// An address below a repository.
fn at(rest: &str) -> String {
    format!("/api/v3/repos/{{owner}}/{{repo}}{rest}")
}

/// What the product was never meant to ask for: 404, as for every address that GitHub does not know, and the test fails.
async fn unknown(State(github): State<GitHub>, request: Request) -> Reply {
    let asked =
        format!("GitHub: {} {} is not answered by the simulator", request.method(), request.uri().path());
    github.problems().report(asked);
    Reply(answers::not_found())
}
