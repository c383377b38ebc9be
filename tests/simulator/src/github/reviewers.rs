//! Requests for review: <https://docs.github.com/rest/pulls/review-requests>.

use serde::Deserialize;

use super::answers;
use super::call::{Call, Reply, Strict, answer};
use super::state::{Permission, now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviewers {
    #[serde(default)]
    reviewers: Vec<String>,
    #[serde(default)]
    team_reviewers: Vec<String>,
}

/// `POST /repos/{owner}/{repo}/pulls/{number}/requested_reviewers`
pub(super) async fn request(call: Call, Strict(asked): Strict<Reviewers>) -> Reply {
    call.in_repository(Permission::Triage, move |scope| {
        scope.repository.follow_branches();
        let number = scope.number("number")?;
        let repository = &mut *scope.repository;
        let strangers = asked.reviewers.iter().any(|login| !repository.is_collaborator(login))
            || asked.team_reviewers.iter().any(|team| !repository.teams.contains_key(&team.to_lowercase()));
        let slug = repository.slug();
        let refused = strangers || repository.reviewers_refused;
        let issue = repository.issues.get_mut(&number).ok_or_else(answers::not_found)?;
        let author = issue.user.clone();
        let pull = issue.pull.as_mut().ok_or_else(answers::not_found)?;
        if asked
            .reviewers
            .iter()
            .any(|login| author.as_ref().is_some_and(|author| author.eq_ignore_ascii_case(login)))
        {
            return Err(answers::message(422, "Review cannot be requested from pull request author."));
        }
        if refused {
            return Err(answers::reviewers_refused(&slug));
        }
        add(&mut pull.reviewers, asked.reviewers);
        add(&mut pull.teams, asked.team_reviewers.iter().map(|team| team.to_lowercase()).collect());
        issue.updated_at = now();
        let issue = scope.repository.issues.get(&number).ok_or_else(answers::not_found)?;
        let pull = issue.pull.as_ref().ok_or_else(answers::not_found)?;
        answer(201, scope.view().pull_simple(issue, pull))
    })
    .await
}

fn add(present: &mut Vec<String>, asked: Vec<String>) {
    for name in asked {
        if !present.iter().any(|one| one.eq_ignore_ascii_case(&name)) {
            present.push(name);
        }
    }
}
