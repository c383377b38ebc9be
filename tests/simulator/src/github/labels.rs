//! Labels: <https://docs.github.com/rest/issues/labels>.

use serde::Deserialize;
use serde_json::json;

use super::answers::{self, Parts};
use super::call::{Answered, Asked, Call, Reply, Scope, Strict, answer};
use super::paging;
use super::state::{Label, Permission, now};

const LONGEST_NAME: usize = 50;
const LONGEST_DESCRIPTION: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    name: String,
    color: Option<String>,
    description: Option<String>,
}

/// The ways in which labels to be added can be written.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Added {
    Whole { labels: Vec<Named> },
    List(Vec<Named>),
    One(String),
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Named {
    Bare(String),
    Object { name: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    per_page: Option<usize>,
    page: Option<usize>,
}

/// `POST /repos/{owner}/{repo}/labels`
pub(super) async fn create(call: Call, Strict(label): Strict<NewLabel>) -> Reply {
    call.in_repository(Permission::Write, move |scope| {
        check_name(&label.name)?;
        let color = label.color.unwrap_or_else(|| "ededed".to_owned());
        if color.len() != 6 || !color.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid("invalid", "color"));
        }
        if label.description.as_ref().is_some_and(|text| text.chars().count() > LONGEST_DESCRIPTION) {
            return Err(invalid("invalid", "description"));
        }
        let key = label.name.to_lowercase();
        if scope.repository.labels.contains_key(&key) {
            return Err(invalid("already_exists", "name"));
        }
        let label = Label { id: scope.ids.next(), name: label.name, color, description: label.description };
        let shown = scope.view().label(&label);
        scope.repository.labels.insert(key, label);
        let location = vec![("location".to_owned(), shown["url"].as_str().unwrap_or_default().to_owned())];
        Ok((201, location, shown))
    })
    .await
}

/// `GET /repos/{owner}/{repo}/issues/{number}/labels`
pub(super) async fn list(call: Call, Asked(query): Asked<ListQuery>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let names = scope.issue()?.labels.clone();
        paging::page(scope.call, scope.view().labels(&names), query.per_page, query.page)
    })
    .await
}

/// `POST /repos/{owner}/{repo}/issues/{number}/labels`; labels that the repository lacks are made.
pub(super) async fn add(call: Call, Strict(added): Strict<Added>) -> Reply {
    call.in_repository(Permission::Triage, move |scope| {
        let names = match added {
            Added::Whole { labels } | Added::List(labels) => labels,
            Added::One(name) => vec![Named::Bare(name)],
        };
        scope.issue()?;
        for named in names {
            let (Named::Bare(name) | Named::Object { name }) = named;
            check_name(&name)?;
            let name = scope.repository.ensure_label(scope.ids, &name);
            let issue = scope.issue()?;
            if !issue.labels.contains(&name) {
                issue.labels.push(name);
                issue.updated_at = now();
            }
        }
        all(scope)
    })
    .await
}

/// `DELETE /repos/{owner}/{repo}/issues/{number}/labels/{name}`
pub(super) async fn remove(call: Call) -> Reply {
    call.in_repository(Permission::Triage, |scope| {
        let name = scope.call.parameter("name").to_owned();
        let issue = scope.issue()?;
        let place = issue.labels.iter().position(|label| label.eq_ignore_ascii_case(&name));
        let place = place.ok_or_else(|| answers::message(404, "Label does not exist"))?;
        issue.labels.remove(place);
        issue.updated_at = now();
        all(scope)
    })
    .await
}

fn all(scope: &mut Scope<'_>) -> Answered {
    let names = scope.issue()?.labels.clone();
    answer(200, scope.view().labels(&names).into())
}

fn check_name(name: &str) -> Result<(), Parts> {
    match name.trim().is_empty() || name.chars().count() > LONGEST_NAME {
        true => Err(invalid("invalid", "name")),
        false => Ok(()),
    }
}

fn invalid(code: &str, field: &str) -> Parts {
    answers::validation_failed(json!([{"resource": "Label", "code": code, "field": field}]))
}
