//! Comments on issues and pull requests: <https://docs.github.com/rest/issues/comments>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{self, Parts, lacking_right};
use super::call::{Asked, Call, Reply, Scope, Strict, answer};
use super::paging;
use super::state::{Comment, Permission, now};

/// Characters in a text, see <https://docs.github.com/rest/issues/comments#create-an-issue-comment>.
pub(super) const LONGEST_BODY: usize = 65_536;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Leaves out what was last changed before, RFC 3339.
    since: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    body: String,
}

/// `GET /repos/{owner}/{repo}/issues/{number}/comments`
pub(super) async fn list(call: Call, Asked(query): Asked<ListQuery>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let number = scope.issue()?.number;
        let view = scope.view();
        let since = query.since.unwrap_or_default();
        let on_it = scope.repository.comments.values().filter(|comment| comment.issue == number);
        let shown = on_it
            .filter(|comment| comment.updated_at >= since)
            .map(|comment| view.comment(comment))
            .collect();
        paging::page(scope.call, shown, query.per_page, query.page)
    })
    .await
}

/// `POST /repos/{owner}/{repo}/issues/{number}/comments`
pub(super) async fn create(call: Call, Strict(text): Strict<Text>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let user = Some(scope.call.login()?.to_owned());
        check(&text.body)?;
        let id = scope.ids.next();
        let issue = scope.issue()?;
        issue.updated_at = now();
        let number = issue.number;
        let comment =
            Comment { id, issue: number, user, body: text.body, created_at: now(), updated_at: now() };
        let shown = scope.view().comment(&comment);
        scope.repository.comments.insert(id, comment);
        let location = vec![("location".to_owned(), shown["url"].as_str().unwrap_or_default().to_owned())];
        Ok((201, location, shown))
    })
    .await
}

/// `GET /repos/{owner}/{repo}/issues/comments/{id}`
pub(super) async fn get(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let id = scope.number("id")?;
        let comment = scope.repository.comments.get(&id).ok_or_else(answers::not_found)?;
        answer(200, scope.view().comment(comment))
    })
    .await
}

/// `PATCH /repos/{owner}/{repo}/issues/comments/{id}`
pub(super) async fn update(call: Call, Strict(text): Strict<Text>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        check(&text.body)?;
        let comment = own(scope)?;
        comment.body = text.body;
        comment.updated_at = now();
        let id = comment.id;
        let comment = scope.repository.comments.get(&id).ok_or_else(answers::not_found)?;
        answer(200, scope.view().comment(comment))
    })
    .await
}

/// `DELETE /repos/{owner}/{repo}/issues/comments/{id}`
pub(super) async fn delete(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let id = own(scope)?.id;
        scope.repository.comments.remove(&id);
        answer(204, Value::Null)
    })
    .await
}

/// The comment of the address, which only its author and those who may push may change.
fn own<'a>(scope: &'a mut Scope<'_>) -> Result<&'a mut Comment, Parts> {
    let id = scope.number("id")?;
    let login = scope.call.login()?.to_owned();
    let may_push = scope.may(Permission::Write);
    let comment = scope.repository.comments.get_mut(&id).ok_or_else(answers::not_found)?;
    let is_author = comment.user.as_deref().is_some_and(|user| user.eq_ignore_ascii_case(&login));
    if is_author || may_push { Ok(comment) } else { Err(lacking_right(scope.call.caller.kind)) }
}

fn check(body: &str) -> Result<(), Parts> {
    let message = if body.trim().is_empty() {
        "Body cannot be blank"
    } else if body.chars().count() > LONGEST_BODY {
        "Body is too long (maximum is 65536 characters)"
    } else {
        return Ok(());
    };
    let error =
        json!([{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}]);
    Err(answers::validation_failed(error))
}
