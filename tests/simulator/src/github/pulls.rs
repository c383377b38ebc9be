//! Pull requests: <https://docs.github.com/rest/pulls/pulls>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{self, Parts, lacking_right};
use super::call::{Answered, Asked, Call, Reply, Scope, Strict, answer};
use super::comments::LONGEST_BODY;
use super::issues::State;
use super::paging;
use super::state::{Issue, Permission, Pull, Repository, now};

const LONGEST_TITLE: usize = 256;

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum StateFilter {
    #[default]
    Open,
    Closed,
    All,
}

/// By time of creation, as without it; nobody asks for another order.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Created,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Asc,
    Desc,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    state: StateFilter,
    /// `owner:branch`.
    head: Option<String>,
    base: Option<String>,
    #[serde(rename = "sort")]
    _sort: Option<Sort>,
    direction: Option<Direction>,
    per_page: Option<usize>,
    page: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPull {
    title: String,
    head: String,
    base: String,
    body: Option<String>,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    maintainer_can_modify: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    title: Option<String>,
    body: Option<String>,
    state: Option<State>,
    base: Option<String>,
    maintainer_can_modify: Option<bool>,
}

/// `GET /repos/{owner}/{repo}/pulls`
pub(super) async fn list(call: Call, Asked(query): Asked<ListQuery>) -> Reply {
    if query.head.as_ref().is_some_and(|head| !head.contains(':')) {
        let text = "GitHub: the filter `head` of a list of pull requests needs `owner:branch`; without it GitHub ignores it";
        call.github.problems().report(text);
    }
    call.in_repository(Permission::Read, move |scope| {
        scope.repository.follow_branches();
        let view = scope.view();
        let owner = &scope.repository.owner;
        let wanted = |issue: &Issue, pull: &Pull| {
            let state = match query.state {
                StateFilter::Open => issue.closed_at.is_none(),
                StateFilter::Closed => issue.closed_at.is_some(),
                StateFilter::All => true,
            };
            let head = query.head.as_deref().and_then(|head| head.split_once(':'));
            state
                && head.is_none_or(|(of, branch)| of.eq_ignore_ascii_case(owner) && branch == pull.head)
                && query.base.as_ref().is_none_or(|base| *base == pull.base)
        };
        let pulls = scope.repository.issues.values().filter_map(|issue| Some((issue, issue.pull.as_ref()?)));
        let mut shown: Vec<Value> = pulls
            .filter(|(issue, pull)| wanted(issue, pull))
            .map(|(issue, pull)| view.pull_simple(issue, pull))
            .collect();
        if !matches!(query.direction, Some(Direction::Asc)) {
            shown.reverse();
        }
        paging::page(scope.call, shown, query.per_page, query.page)
    })
    .await
}

/// `POST /repos/{owner}/{repo}/pulls`
pub(super) async fn create(call: Call, Strict(new): Strict<NewPull>) -> Reply {
    call.in_repository(Permission::Write, move |scope| {
        let user = Some(scope.call.login()?.to_owned());
        scope.repository.follow_branches();
        check_texts(Some(&new.title), new.body.as_deref())?;
        let sides = Sides::find(scope.repository, &new)?;
        let number = scope.repository.next_number();
        scope.repository.git.set_ref(&format!("refs/pull/{number}/head"), &sides.head_sha);
        let pull = Pull {
            id: scope.ids.next(),
            head: sides.head,
            base: new.base,
            head_sha: sides.head_sha,
            base_sha: sides.base_sha,
            draft: new.draft,
            maintainer_can_modify: new.maintainer_can_modify,
            reviewers: Vec::new(),
            teams: Vec::new(),
            merged: None,
        };
        let issue = Issue {
            id: scope.ids.next(),
            number,
            title: new.title,
            body: new.body,
            user,
            labels: Vec::new(),
            assignees: Vec::new(),
            state_reason: None,
            created_at: now(),
            updated_at: now(),
            closed_at: None,
            pull: Some(pull),
        };
        scope.repository.issues.insert(number, issue);
        let (_, _, body) = shown(scope, number)?;
        let location = vec![("location".to_owned(), scope.view().api(&format!("/pulls/{number}")))];
        Ok((201, location, body))
    })
    .await
}

/// `GET /repos/{owner}/{repo}/pulls/{number}`
pub(super) async fn get(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let number = scope.number("number")?;
        shown(scope, number)
    })
    .await
}

/// `PATCH /repos/{owner}/{repo}/pulls/{number}`; whether it is a draft cannot be changed here.
pub(super) async fn update(call: Call, Strict(change): Strict<Change>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let login = scope.call.login()?.to_owned();
        let number = scope.number("number")?;
        scope.repository.follow_branches();
        let may_write = scope.may(Permission::Write);
        let kind = scope.call.caller.kind;
        check_texts(change.title.as_deref(), change.body.as_deref())?;
        if let Some(base) = &change.base {
            scope.repository.git.tip(base).ok_or_else(|| invalid("base"))?;
        }
        if change.state == Some(State::Open) {
            check_reopening(scope.repository, number)?;
        }
        let issue = scope.issue()?;
        let is_author = issue.user.as_ref() == Some(&login);
        let pull = issue.pull.as_mut().ok_or_else(answers::not_found)?;
        if !may_write && !is_author {
            return Err(lacking_right(kind));
        }
        pull.base = change.base.unwrap_or_else(|| pull.base.clone());
        pull.maintainer_can_modify = change.maintainer_can_modify.unwrap_or(pull.maintainer_can_modify);
        issue.title = change.title.unwrap_or_else(|| issue.title.clone());
        issue.body = change.body.or(issue.body.take());
        issue.closed_at = match change.state {
            Some(State::Closed) => issue.closed_at.take().or_else(|| Some(now())),
            Some(State::Open) => None,
            None => issue.closed_at.take(),
        };
        issue.updated_at = now();
        shown(scope, number)
    })
    .await
}

fn shown(scope: &mut Scope<'_>, number: u64) -> Answered {
    scope.repository.follow_branches();
    let issue = scope.repository.issues.get(&number).ok_or_else(answers::not_found)?;
    let pull = issue.pull.as_ref().ok_or_else(answers::not_found)?;
    answer(200, scope.view().pull(issue, pull))
}

/// What a new pull request is about, once it is known to be allowed.
struct Sides {
    head: String,
    head_sha: String,
    base_sha: String,
}

impl Sides {
    fn find(repository: &Repository, new: &NewPull) -> Result<Self, Parts> {
        let (owner, head) = new.head.split_once(':').unwrap_or((&repository.owner, &new.head));
        let git = &repository.git;
        let base_sha = git.tip(&new.base).ok_or_else(|| invalid("base"))?;
        let known = git.tip(head).filter(|_| owner.eq_ignore_ascii_case(&repository.owner));
        let head_sha = known.ok_or_else(|| invalid("head"))?;
        if new.draft && repository.drafts_refused {
            return Err(answers::drafts_refused());
        }
        if open_pull(repository, head, &new.base).is_some() {
            return Err(custom(&format!("A pull request already exists for {}:{head}.", repository.owner)));
        }
        if !git.related(&base_sha, &head_sha) {
            return Err(custom(&format!("The {head} branch has no history in common with {}", new.base)));
        }
        if git.ahead(&base_sha, &head_sha) == 0 {
            return Err(custom(&format!("No commits between {} and {head}", new.base)));
        }
        Ok(Self { head: head.to_owned(), head_sha, base_sha })
    }
}

fn open_pull(repository: &Repository, head: &str, base: &str) -> Option<u64> {
    let open = repository.issues.values().filter(|issue| issue.closed_at.is_none());
    let mut same =
        open.filter(|issue| issue.pull.as_ref().is_some_and(|pull| pull.head == head && pull.base == base));
    same.next().map(|issue| issue.number)
}

/// A closed pull request opens again only if its branch is there, unmerged, and no other is open for it.
fn check_reopening(repository: &Repository, number: u64) -> Result<(), Parts> {
    let issue = repository.issues.get(&number).ok_or_else(answers::not_found)?;
    let pull = issue.pull.as_ref().ok_or_else(answers::not_found)?;
    if issue.closed_at.is_none() {
        return Ok(());
    }
    let refused = |message: String| {
        let error =
            json!([{"resource": "PullRequest", "code": "invalid", "field": "state", "message": message}]);
        Err(answers::validation_failed(error))
    };
    if pull.merged.is_some() || repository.git.tip(&pull.head).is_none() {
        return refused("state cannot be changed. The branch was merged or deleted.".to_owned());
    }
    if open_pull(repository, &pull.head, &pull.base).is_some() {
        let owner = &repository.owner;
        return refused(format!(
            "state cannot be changed. There is already an open pull request from {owner}:{}.",
            pull.head
        ));
    }
    Ok(())
}

fn check_texts(title: Option<&str>, body: Option<&str>) -> Result<(), Parts> {
    match title {
        Some(title) if title.trim().is_empty() => {
            return Err(answers::validation_failed(
                json!([{"resource": "PullRequest", "code": "missing_field", "field": "title"}]),
            ));
        }
        Some(title) if title.chars().count() > LONGEST_TITLE => {
            return Err(custom("title is too long (maximum is 256 characters)"));
        }
        _ => {}
    }
    match body {
        Some(body) if body.chars().count() > LONGEST_BODY => {
            Err(custom("body is too long (maximum is 65536 characters)"))
        }
        _ => Ok(()),
    }
}

fn invalid(field: &str) -> Parts {
    answers::validation_failed(json!([{"resource": "PullRequest", "field": field, "code": "invalid"}]))
}

fn custom(message: &str) -> Parts {
    answers::validation_failed(json!([{"resource": "PullRequest", "code": "custom", "message": message}]))
}
