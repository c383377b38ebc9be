//! What a test looks at afterwards.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::GitHub;
use super::state::{Comment, Issue, Repository};

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommitSnapshot {
    /// The commit id.
    pub id: String,
    /// The whole message, without line ends at its end.
    pub message: String,
    /// `Name <address>`.
    pub author: String,
    /// The commit ids of the parents.
    pub parents: Vec<String>,
}

/// An issue; also of a pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IssueSnapshot {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// Its author's login.
    pub author: Option<String>,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// Logins.
    pub assignees: Vec<String>,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullSnapshot {
    /// What it has in common with an issue.
    #[serde(flatten)]
    pub issue: IssueSnapshot,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The branch it comes from.
    pub head: String,
    /// The branch it is for.
    pub base: String,
    /// The commit id at its head.
    pub head_id: String,
    /// Logins of those whose review was asked for.
    pub reviewers: Vec<String>,
    /// Slugs of the teams whose review was asked for.
    pub team_reviewers: Vec<String>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommentSnapshot {
    /// Its id.
    pub id: u64,
    /// The number of the issue or pull request.
    pub issue: u64,
    /// Its author's login.
    pub author: Option<String>,
    /// Its text.
    pub body: String,
    /// When it was written, RFC 3339.
    pub created_at: String,
    /// When it was last changed, RFC 3339.
    pub updated_at: String,
}

/// One ref that a push changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushRecord {
    /// The repository's slug at that time.
    pub repository: String,
    /// Who pushed.
    pub login: String,
    /// The full name of the ref.
    pub reference: String,
    /// The commit id before; all zeros when the ref is new.
    pub old: String,
    /// The commit id after; all zeros when the ref was removed.
    pub new: String,
}

/// One fetch or clone, from the moment its pack was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FetchRecord {
    /// The repository's slug.
    pub repository: String,
    /// The name in the credentials as sent, such as `x-access-token`; without credentials `None`.
    pub username: Option<String>,
    /// Whose token it was.
    pub login: Option<String>,
}

/// A repository as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepositorySnapshot {
    /// The default branch.
    pub default_branch: String,
    /// Whether it can only be seen by those with a right.
    pub private: bool,
    /// All refs and the ids they point at.
    pub refs: BTreeMap<String, String>,
    /// The issues that are no pull requests.
    pub issues: Vec<IssueSnapshot>,
    /// The pull requests, open and closed.
    pub pulls: Vec<PullSnapshot>,
    /// All comments.
    pub comments: Vec<CommentSnapshot>,
    /// Names of the labels the repository has.
    pub labels: Vec<String>,
}

impl GitHub {
    /// Everything as JSON: `repositories` by slug, `pushes`, `fetches`. Runs git, so call it where blocking is allowed.
    #[must_use]
    pub fn state_json(&self) -> Value {
        let pushes = self.pushes();
        let mut store = self.store();
        let repositories: BTreeMap<String, RepositorySnapshot> = store
            .repositories
            .values_mut()
            .map(|repository| (repository.slug(), snapshot(repository)))
            .collect();
        json!({"repositories": repositories, "pushes": pushes, "fetches": store.fetches})
    }

    /// The pull requests of a repository, open and closed, by number.
    #[must_use]
    pub fn pulls(&self, slug: &str) -> Vec<PullSnapshot> {
        self.look(slug, |repository| {
            repository.follow_branches();
            repository.issues.values().filter_map(pull_snapshot).collect()
        })
    }

    /// An issue, or what a pull request has in common with one.
    #[must_use]
    pub fn issue(&self, slug: &str, number: u64) -> Option<IssueSnapshot> {
        self.look(slug, |repository| repository.issues.get(&number).map(issue_snapshot))
    }

    /// The comments on an issue or a pull request, oldest first.
    #[must_use]
    pub fn comments(&self, slug: &str, number: u64) -> Vec<CommentSnapshot> {
        self.look(slug, |repository| {
            let on_it = repository.comments.values().filter(|comment| comment.issue == number);
            on_it.map(comment_snapshot).collect()
        })
    }

    /// The labels of an issue or a pull request.
    #[must_use]
    pub fn labels(&self, slug: &str, number: u64) -> Vec<String> {
        self.issue(slug, number).map(|issue| issue.labels).unwrap_or_default()
    }

    /// The branches of a repository and the ids of their tips.
    #[must_use]
    pub fn branches(&self, slug: &str) -> BTreeMap<String, String> {
        self.look(slug, |repository| repository.git.branches())
    }

    /// The commits of a branch, newest first; none when there is no such branch.
    #[must_use]
    pub fn commits(&self, slug: &str, branch: &str) -> Vec<CommitSnapshot> {
        self.look(slug, |repository| repository.git.log(&format!("refs/heads/{branch}")).unwrap_or_default())
    }

    /// The content of a file on a branch.
    #[must_use]
    pub fn file(&self, slug: &str, branch: &str, path: &str) -> Option<Vec<u8>> {
        self.look(slug, |repository| {
            let entry = repository.git.entry(&repository.git.tip(branch)?, path)?;
            repository.git.blob(&entry.id)
        })
    }

    /// What `head` changes since it left `base`, as a patch; branches or ids.
    #[must_use]
    pub fn diff(&self, slug: &str, base: &str, head: &str) -> String {
        self.look(slug, |repository| repository.git.diff(base, head).ok()).unwrap_or_else(|| {
            self.problems().report(format!("GitHub: {slug} has no difference of {base} and {head}"));
            String::new()
        })
    }

    /// Every ref that a push changed, oldest first. What [`GitHub::push_files`] does is not a push.
    #[must_use]
    pub fn pushes(&self) -> Vec<PushRecord> {
        let Some(root) = self.store().root.clone() else {
            return Vec::new();
        };
        let log = std::fs::read_to_string(root.path().join("pushes")).unwrap_or_default();
        log.lines().filter_map(parse_push).collect()
    }

    /// Every fetch and clone, oldest first.
    #[must_use]
    pub fn fetches(&self) -> Vec<FetchRecord> {
        self.store().fetches.clone()
    }

    fn look<T: Default>(&self, slug: &str, look: impl FnOnce(&mut Repository) -> T) -> T {
        match self.store().repository(slug) {
            Some(repository) => look(repository),
            None => {
                self.problems().report(format!("GitHub: a test looks into {slug}, which does not exist"));
                T::default()
            }
        }
    }
}

fn snapshot(repository: &mut Repository) -> RepositorySnapshot {
    repository.follow_branches();
    RepositorySnapshot {
        default_branch: repository.default_branch.clone(),
        private: repository.private,
        refs: repository.git.refs(),
        issues: repository.issues.values().filter(|issue| issue.pull.is_none()).map(issue_snapshot).collect(),
        pulls: repository.issues.values().filter_map(pull_snapshot).collect(),
        comments: repository.comments.values().map(comment_snapshot).collect(),
        labels: repository.labels.values().map(|label| label.name.clone()).collect(),
    }
}

fn issue_snapshot(issue: &Issue) -> IssueSnapshot {
    IssueSnapshot {
        number: issue.number,
        title: issue.title.clone(),
        body: issue.body.clone(),
        state: issue.state().to_owned(),
        author: issue.user.clone(),
        labels: issue.labels.clone(),
        assignees: issue.assignees.clone(),
    }
}

fn pull_snapshot(issue: &Issue) -> Option<PullSnapshot> {
    let pull = issue.pull.as_ref()?;
    Some(PullSnapshot {
        issue: issue_snapshot(issue),
        draft: pull.draft,
        merged: pull.merged.is_some(),
        head: pull.head.clone(),
        base: pull.base.clone(),
        head_id: pull.head_sha.clone(),
        reviewers: pull.reviewers.clone(),
        team_reviewers: pull.teams.clone(),
    })
}

fn comment_snapshot(comment: &Comment) -> CommentSnapshot {
    CommentSnapshot {
        id: comment.id,
        issue: comment.issue,
        author: comment.user.clone(),
        body: comment.body.clone(),
        created_at: comment.created_at.clone(),
        updated_at: comment.updated_at.clone(),
    }
}

fn parse_push(line: &str) -> Option<PushRecord> {
    let mut words = line.splitn(5, ' ').map(str::to_owned);
    let (repository, login) = (words.next()?, words.next()?);
    let (old, new, reference) = (words.next()?, words.next()?, words.next()?);
    reference.starts_with("refs/").then_some(PushRecord { repository, login, reference, old, new })
}
