//! Issues: <https://docs.github.com/rest/issues/issues> and <https://docs.github.com/rest/issues/assignees>.

use serde::Deserialize;
use serde_json::json;

use super::answers::{self, lacking_right};
use super::call::{Answered, Call, Reply, Scope, Strict, answer};
use super::state::{Permission, now};

const MOST_ASSIGNEES: usize = 10;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Open,
    Closed,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateReason {
    Completed,
    NotPlanned,
    Duplicate,
    Reopened,
}

impl StateReason {
    fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotPlanned => "not_planned",
            Self::Duplicate => "duplicate",
            Self::Reopened => "reopened",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    title: Option<String>,
    body: Option<String>,
    state: Option<State>,
    state_reason: Option<StateReason>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignees {
    assignees: Vec<String>,
}

/// `GET /repos/{owner}/{repo}/issues/{number}`
pub(super) async fn get(call: Call) -> Reply {
    call.in_repository(Permission::Read, shown).await
}

/// `PATCH /repos/{owner}/{repo}/issues/{number}`
pub(super) async fn update(call: Call, Strict(change): Strict<Change>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let login = scope.call.login()?.to_owned();
        let may_triage = scope.may(Permission::Triage);
        let kind = scope.call.caller.kind;
        let issue = scope.issue()?;
        if !may_triage && issue.user.as_ref() != Some(&login) {
            return Err(lacking_right(kind));
        }
        if let Some(title) = change.title {
            issue.title = title;
        }
        issue.body = change.body.or(issue.body.take());
        match change.state {
            Some(State::Closed) if issue.closed_at.is_none() => {
                issue.closed_at = Some(now());
                let reason = change.state_reason.unwrap_or(StateReason::Completed);
                issue.state_reason = Some(reason.name().to_owned());
            }
            Some(State::Open) if issue.closed_at.is_some() => {
                issue.closed_at = None;
                issue.state_reason = Some(StateReason::Reopened.name().to_owned());
            }
            _ => {}
        }
        issue.updated_at = now();
        shown(scope)
    })
    .await
}

/// `POST /repos/{owner}/{repo}/issues/{number}/assignees`; who cannot be assigned is passed over in silence, as GitHub does.
pub(super) async fn assign(call: Call, Strict(asked): Strict<Assignees>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let known: Vec<String> = match scope.may(Permission::Triage) {
            true => asked.assignees.into_iter().filter(|login| scope.repository.is_collaborator(login)).collect(),
            false => Vec::new(),
        };
        let issue = scope.issue()?;
        for login in known {
            if !issue.assignees.iter().any(|assigned| assigned.eq_ignore_ascii_case(&login)) {
                issue.assignees.push(login);
            }
        }
        if issue.assignees.len() > MOST_ASSIGNEES {
            issue.assignees.truncate(MOST_ASSIGNEES);
            let error = json!([{"resource": "Issue", "code": "custom", "field": "assignees", "message": "at most 10"}]);
            return Err(answers::validation_failed(error));
        }
        issue.updated_at = now();
        let (_, headers, body) = shown(scope)?;
        Ok((201, headers, body))
    })
    .await
}

/// `DELETE /repos/{owner}/{repo}/issues/{number}/assignees`
pub(super) async fn unassign(call: Call, Strict(asked): Strict<Assignees>) -> Reply {
    call.in_repository(Permission::Triage, move |scope| {
        let issue = scope.issue()?;
        issue
            .assignees
            .retain(|assigned| !asked.assignees.iter().any(|login| assigned.eq_ignore_ascii_case(login)));
        issue.updated_at = now();
        shown(scope)
    })
    .await
}

fn shown(scope: &mut Scope<'_>) -> Answered {
    scope.repository.follow_branches();
    let number = scope.issue()?.number;
    let issue = scope.repository.issues.get(&number).ok_or_else(answers::not_found)?;
    answer(200, scope.view().issue(issue))
}
