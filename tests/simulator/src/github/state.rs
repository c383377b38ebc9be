//! What the simulated GitHub holds, apart from the commits: those are in real repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tempfile::TempDir;

use super::git::Git;
use super::inspect::FetchRecord;
use crate::git_http::Disturbances;

/// Requests per hour with a token, see <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
pub(super) const HOURLY_LIMIT: u64 = 5_000;
const HOUR_SECONDS: i64 = 3_600;

/// Everything, behind one lock.
#[derive(Default)]
pub(super) struct Store {
    /// Where the repositories live; made with the first one.
    pub root: Option<Arc<TempDir>>,
    pub users: Users,
    pub tokens: BTreeMap<String, Token>,
    /// By slug in lower case.
    pub repositories: BTreeMap<String, Repository>,
    /// Old slug in lower case to new slug.
    pub renamed: BTreeMap<String, String>,
    pub ids: Ids,
    pub fetches: Vec<FetchRecord>,
    pub disturbances: Disturbances,
    pub ready_refused: bool,
}

impl Store {
    /// The repository of a slug, in any case.
    pub fn repository(&mut self, slug: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(&slug.to_lowercase())
    }

    /// Counts one use of a token; `None` when it is unknown or has expired.
    pub fn use_token(&mut self, secret: &str) -> Option<&mut Token> {
        let token = self.tokens.get_mut(secret)?;
        token.is_alive().then_some(token)
    }
}

/// Numbers that are unique over all kinds of things, as GitHub's nearly are.
#[derive(Default)]
pub(super) struct Ids(u64);

impl Ids {
    pub fn next(&mut self) -> u64 {
        self.0 += 1;
        1_000 + self.0
    }
}

/// The accounts, by login in lower case.
#[derive(Default)]
pub(super) struct Users(BTreeMap<String, User>);

impl Users {
    pub fn get(&self, login: &str) -> Option<&User> {
        self.0.get(&login.to_lowercase())
    }

    /// Adds an account unless there is one of that login.
    pub fn add(&mut self, ids: &mut Ids, login: &str, kind: &'static str) {
        self.0.entry(login.to_lowercase()).or_insert_with(|| User {
            id: ids.next(),
            login: login.to_owned(),
            kind,
        });
    }

    pub fn remove(&mut self, login: &str) {
        self.0.remove(&login.to_lowercase());
    }
}

/// An account.
pub(super) struct User {
    pub id: u64,
    pub login: String,
    /// `User`, `Bot` or `Organization`.
    pub kind: &'static str,
}

/// What kind of credential a token is; the answers to a lack of rights differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TokenKind {
    Personal,
    Installation,
}

/// A credential, and what is left of its allowance.
pub(super) struct Token {
    pub login: String,
    pub kind: TokenKind,
    /// REST requests in an hour.
    pub limit: u64,
    pub used: u64,
    /// Unix time in seconds at which `used` starts afresh.
    pub resets_at: i64,
    /// Requests until the token is refused as expired; without it never.
    pub requests_left: Option<u64>,
}

impl Token {
    pub fn new(token: &str, login: &str) -> Self {
        let kind = if token.starts_with("ghs_") { TokenKind::Installation } else { TokenKind::Personal };
        Self {
            login: login.to_owned(),
            kind,
            limit: HOURLY_LIMIT,
            used: 0,
            resets_at: now_seconds() + HOUR_SECONDS,
            requests_left: None,
        }
    }

    /// Counts one use; false when the token has expired.
    fn is_alive(&mut self) -> bool {
        match &mut self.requests_left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Counts one REST request; false when the hour's allowance is used up.
    pub fn is_within_limit(&mut self) -> bool {
        if now_seconds() >= self.resets_at {
            self.used = 0;
            self.resets_at = now_seconds() + HOUR_SECONDS;
        }
        let within = self.used < self.limit;
        self.used = (self.used + 1).min(self.limit);
        within
    }
}

/// A right in a repository; a greater one includes the smaller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Nothing; not even the existence of a private repository is seen.
    None,
    /// See it, comment, open issues.
    Read,
    /// Also labels, assignees, reviewers, states.
    Triage,
    /// Also push.
    Write,
    /// Also some settings.
    Maintain,
    /// Everything.
    Admin,
}

/// A repository and what people wrote in it.
pub(super) struct Repository {
    pub id: u64,
    pub owner: String,
    pub name: String,
    pub git: Git,
    pub default_branch: String,
    pub private: bool,
    pub archived: bool,
    pub drafts_refused: bool,
    pub reviewers_refused: bool,
    pub permissions: BTreeMap<String, Permission>,
    pub teams: BTreeMap<String, u64>,
    pub protected: BTreeSet<String>,
    /// By name in lower case.
    pub labels: BTreeMap<String, Label>,
    pub issues: BTreeMap<u64, Issue>,
    pub comments: BTreeMap<u64, Comment>,
    pub created_at: String,
}

impl Repository {
    /// `owner/name`.
    pub fn slug(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The right of an account; a public repository may be read by everybody.
    pub fn permission(&self, login: Option<&str>) -> Permission {
        let floor = if self.private { Permission::None } else { Permission::Read };
        let Some(login) = login else { return floor };
        if login.eq_ignore_ascii_case(&self.owner) {
            return Permission::Admin;
        }
        self.permissions.get(&login.to_lowercase()).map_or(floor, |granted| (*granted).max(floor))
    }

    /// Whether an account was given a right here, rather than having what everybody has.
    pub fn is_collaborator(&self, login: &str) -> bool {
        login.eq_ignore_ascii_case(&self.owner)
            || self.permissions.get(&login.to_lowercase()).is_some_and(|granted| *granted > Permission::None)
    }

    pub fn next_number(&self) -> u64 {
        self.issues.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Finds or creates a label of this repository, as adding it to an issue does, and gives its name as first written.
    pub fn ensure_label(&mut self, ids: &mut Ids, name: &str) -> String {
        let label = self.labels.entry(name.to_lowercase()).or_insert_with(|| Label {
            id: ids.next(),
            name: name.to_owned(),
            color: "ededed".to_owned(),
            description: None,
        });
        label.name.clone()
    }

    /// Takes over what was pushed: open pull requests follow their branch, and are closed when it is gone.
    pub fn follow_branches(&mut self) {
        let branches = self.git.branches();
        for (number, issue) in &mut self.issues {
            let Some(pull) = issue.pull.as_mut().filter(|_| issue.closed_at.is_none()) else {
                continue;
            };
            if let Some(base) = branches.get(&pull.base) {
                pull.base_sha.clone_from(base);
            }
            match branches.get(&pull.head) {
                Some(head) if *head == pull.head_sha => {}
                Some(head) => {
                    pull.head_sha.clone_from(head);
                    issue.updated_at = now();
                    self.git.set_ref(&format!("refs/pull/{number}/head"), head);
                }
                None => issue.closed_at = Some(now()),
            }
        }
    }
}

/// A label of a repository.
pub(super) struct Label {
    pub id: u64,
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
    pub description: Option<String>,
}

/// An issue; a pull request is one too.
pub(super) struct Issue {
    pub id: u64,
    pub number: u64,
    pub title: String,
    pub body: Option<String>,
    /// The author's login; `None`, or a login that no longer exists, is shown as `null`.
    pub user: Option<String>,
    pub labels: Vec<String>,
    pub assignees: Vec<String>,
    pub state_reason: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    /// Set while it is closed.
    pub closed_at: Option<String>,
    pub pull: Option<Pull>,
}

impl Issue {
    pub fn state(&self) -> &'static str {
        if self.closed_at.is_some() { "closed" } else { "open" }
    }
}

/// What a pull request has beyond an issue.
pub(super) struct Pull {
    pub id: u64,
    pub head: String,
    pub base: String,
    /// The last known tips; those of an open pull request follow the branches.
    pub head_sha: String,
    pub base_sha: String,
    pub draft: bool,
    pub maintainer_can_modify: bool,
    pub reviewers: Vec<String>,
    pub teams: Vec<String>,
    pub merged: Option<Merge>,
}

/// How a pull request was merged.
pub(super) struct Merge {
    pub at: String,
    pub by: String,
    pub commit: String,
}

/// A comment on an issue or a pull request.
pub(super) struct Comment {
    pub id: u64,
    pub issue: u64,
    pub user: Option<String>,
    pub body: String,
    pub created_at: String,
    pub updated_at: String,
}

/// The time, as GitHub writes it.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time in seconds.
pub(super) fn now_seconds() -> i64 {
    Timestamp::now().as_second()
}

/// Where a repository lies below the root.
pub(super) fn repository_path(root: &TempDir, id: u64) -> PathBuf {
    root.path().join("repositories").join(format!("{id}.git"))
}
