//! Which path goes where.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, Response, Uri};
use axum::response::IntoResponse;
use axum::routing::{any, get, put};

use super::error::JiraError;
use super::request::ThroughGateway;
use super::{Jira, comments, edit, issues, links, properties, search, transitions, users};
use crate::server::dispatch;

pub(super) fn router(jira: &Jira) -> Router {
    let site = site(jira);
    let behind = site.clone();
    let gateway = move |Path((cloud_id, rest)): Path<(String, String)>, request| async move {
        through_gateway(&behind, &cloud_id, &rest, request).await
    };
    Router::new().route("/ex/jira/{cloud_id}/{*rest}", any(gateway)).fallback_service(site)
}

fn site(jira: &Jira) -> Router {
    let unknown = |State(jira): State<Jira>, request: Request<Body>| async move {
        let error = JiraError::not_found("no such route at Jira");
        jira.malformed(&format!("{} {}", request.method(), request.uri()), error)
    };
    Router::new()
        .merge(api())
        .route("/rest/api/{version}/search", any(search::removed))
        .route("/_edge/tenant_info", get(users::tenant_info))
        .route("/browse/{key}", get(issues::browse))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(jira.clone())
}

fn api() -> Router<Jira> {
    let at = |path: &str| format!("/rest/api/3{path}");
    Router::new()
        .route(&at("/myself"), get(users::myself))
        .route(&at("/serverInfo"), get(users::server_info))
        .route(&at("/user"), get(users::one))
        .route(&at("/users"), get(users::all))
        .route(&at("/users/search"), get(users::all))
        .route(&at("/search/jql"), get(search::by_query).post(search::by_body))
        .route(&at("/issue/{key}"), get(issues::show).put(edit::edit))
        .route(&at("/issue/{key}/assignee"), put(edit::assign))
        .route(&at("/issue/{key}/changelog"), get(issues::changelog))
        .route(&at("/issue/{key}/comment"), get(comments::list).post(comments::add))
        .route(
            &at("/issue/{key}/comment/{id}"),
            get(comments::show).put(comments::update).delete(comments::delete),
        )
        .route(&at("/issue/{key}/transitions"), get(transitions::list).post(transitions::take))
        .route(&at("/issue/{key}/remotelink"), get(links::list).post(links::upsert).delete(links::delete))
        .route(&at("/issue/{key}/properties"), get(properties::issue_keys))
        .route(
            &at("/issue/{key}/properties/{property}"),
            get(properties::show_issue).put(properties::put_issue).delete(properties::delete_issue),
        )
        .route(&at("/comment/{id}/properties"), get(properties::comment_keys))
        .route(
            &at("/comment/{id}/properties/{property}"),
            get(properties::show_comment).put(properties::put_comment).delete(properties::delete_comment),
        )
}

async fn through_gateway(
    site: &Router,
    cloud_id: &str,
    rest: &str,
    request: Request<Body>,
) -> Response<Body> {
    if cloud_id != Jira::CLOUD_ID {
        return JiraError::not_found(format!("no site has the cloud id {cloud_id}")).into_response();
    }
    let (mut head, body) = request.into_parts();
    let query = head.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let Ok(uri) = format!("/{rest}{query}").parse::<Uri>() else {
        return JiraError::not_found("the path cannot be read").into_response();
    };
    head.uri = uri;
    // Also the parameters of the path as it was.
    head.extensions.clear();
    head.extensions.insert(ThroughGateway);
    dispatch(site, Request::from_parts(head, body)).await
}
