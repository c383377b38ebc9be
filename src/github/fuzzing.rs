//! Every answer of GitHub, as it is read.

use serde::de::DeserializeOwned;

use super::{comments, issues, memory, pulls, wire};
use crate::domain::AccountId;
use crate::rest::Call;

/// Reads the body as each of them.
pub(crate) fn read(body: &[u8]) {
    if let Some(issue) = parse::<wire::Issue>(body) {
        drop(comments::unix(&issue.body));
        drop(issue.assignees.iter().filter_map(wire::User::account).collect::<Vec<_>>());
        drop(issue.labels.into_iter().map(wire::Label::into_name).collect::<Vec<_>>());
    }
    if let Some(pull) = parse::<wire::Pull>(body) {
        drop(comments::bounded(&pull.body));
        drop(pulls::pull_request(&Call::get("a pull request", "a valid token"), pull));
    }
    let all = parse::<Vec<wire::Comment>>(body).unwrap_or_default();
    read_comments(&all);
    read_comments(&parse::<wire::Comment>(body).into_iter().collect::<Vec<_>>());
    drop(parse::<wire::Repo>(body));
    drop(parse::<wire::Branch>(body));
    drop(parse::<wire::Content>(body));
    drop(parse::<wire::UserPermission>(body));
    let refusal = wire::Refusal::read(&String::from_utf8_lossy(body));
    drop((refusal.message(), refusal.fields()));
}

/// As the account that wrote the first.
fn read_comments(all: &[wire::Comment]) {
    let Some(login) = all.first().and_then(|one| one.user.as_ref()?.account()) else {
        return;
    };
    drop(memory::memory(all, &login));
    for one in all {
        let _: bool = issues::is_ours(one, &login);
        drop(issues::comment(one));
    }
    drop::<AccountId>(login);
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}
