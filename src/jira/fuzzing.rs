//! Every answer of Jira, as it is read.

use serde::de::DeserializeOwned;

use super::issue::{comment, memory};
use super::{Transition, adf, wire};
use crate::domain::IssueKey;

/// Reads the body as each of them.
pub(crate) fn read(body: &[u8]) {
    if let Some(issue) = parse::<wire::Issue>(body) {
        read_issue(&issue);
    }
    if let Some(page) = parse::<wire::CommentPage>(body) {
        page.comments.iter().for_each(|one| drop(comment(one)));
    }
    if let Some(page) = parse::<wire::SearchPage>(body) {
        page.issues.iter().for_each(read_issue);
        page.issues.into_iter().for_each(|issue| drop(super::search::found_issue(issue)));
    }
    if let Some(answer) = parse::<wire::Transitions>(body) {
        answer.transitions.into_iter().for_each(|transition| drop(Transition::from(transition)));
    }
    if let Some(user) = parse::<wire::User>(body) {
        drop(user.account());
    }
    drop(wire::Refusal::read(&String::from_utf8_lossy(body)).message());
}

fn read_issue(issue: &wire::Issue) {
    drop(adf::to_markdown(&issue.fields.description));
    let _ = wire::moment(&issue.fields.updated);
    if let Ok(key) = issue.key.parse::<IssueKey>() {
        drop(memory(&key, &issue.properties));
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
