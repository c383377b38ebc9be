//! Jira's state: plain data, no HTTP.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::workflow::Workflow;

/// Everything Jira holds.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) users: BTreeMap<String, User>,
    pub(super) credentials: Vec<Credentials>,
    pub(super) projects: BTreeMap<String, Project>,
    pub(super) issues: BTreeMap<u64, Issue>,
    pub(super) workflow: Workflow,
    pub(super) settings: Settings,
    /// What search sees when it is stale.
    pub(super) stale_index: Option<BTreeMap<u64, Issue>>,
    last_id: u64,
    last_time: Timestamp,
}

/// The misbehaviours that are switched on.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) scoped_token: bool,
    pub(super) empty_transitions: bool,
    pub(super) page_limit: Option<usize>,
    /// Fields that a transition's screen requires: (transition, field).
    pub(super) required_fields: BTreeSet<(String, String)>,
}

/// Who may use the API.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) email: String,
    pub(super) token: String,
    pub(super) account_id: String,
}

/// An account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The account id.
    pub account_id: String,
    /// The name people see.
    pub name: String,
    /// The address; empty where the account hides it.
    #[serde(default)]
    pub email: String,
    /// An account that is closed cannot be assigned anything.
    #[serde(default = "yes")]
    pub active: bool,
}

fn yes() -> bool {
    true
}

/// A project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The key, e.g. `PROJ`.
    pub key: String,
    /// The name people see.
    pub name: String,
}

/// An issue as tests and scenarios describe it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssueSeed {
    /// The key, e.g. `PROJ-1`; its project is made when it does not exist.
    pub key: String,
    /// The title.
    pub summary: String,
    /// Markdown; ignored when there is an `adf`.
    pub description: String,
    /// The description as a document, taken as it is.
    pub adf: Option<Value>,
    /// The labels.
    pub labels: Vec<String>,
    /// The components' names.
    pub components: Vec<String>,
    /// The account id of who has it.
    pub assignee: Option<String>,
    /// The account id of who wrote it; unset: the first person.
    pub reporter: Option<String>,
    /// The status' name; unset: the workflow's first.
    pub status: Option<String>,
    /// The type's name; unset: `Task`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The priority's name; unset: `Medium`.
    pub priority: Option<String>,
    /// Further fields as they are, e.g. `customfield_10042`.
    pub fields: Map<String, Value>,
    /// Comments, oldest first.
    pub comments: Vec<CommentSeed>,
}

/// A comment as tests and scenarios describe it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommentSeed {
    /// The account id of who wrote it.
    pub author: String,
    /// Markdown.
    pub text: String,
}

#[derive(Debug, Clone)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) summary: String,
    pub(super) description: Value,
    pub(super) status: String,
    pub(super) resolution: Option<String>,
    pub(super) assignee: Option<String>,
    pub(super) reporter: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) kind: String,
    pub(super) priority: String,
    pub(super) fields: Map<String, Value>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) comments: Vec<Comment>,
    pub(super) links: Vec<RemoteLink>,
    pub(super) properties: BTreeMap<String, Value>,
    pub(super) history: Vec<Change>,
}

impl Issue {
    pub(super) fn project(&self) -> &str {
        self.key.rsplit_once('-').map_or(&self.key, |(project, _)| project)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) editor: String,
    pub(super) body: Value,
    pub(super) visibility: Option<Value>,
    pub(super) properties: BTreeMap<String, Value>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// A link from an issue to something outside of Jira.
#[derive(Debug, Clone, Serialize)]
pub struct RemoteLink {
    /// Jira's number.
    pub id: u64,
    /// The caller's identity of the link; a second write with the same one replaces it.
    pub global_id: Option<String>,
    /// `application`, as it was sent.
    pub application: Option<Value>,
    /// `relationship`, as it was sent.
    pub relationship: Option<String>,
    /// `object`, as it was sent.
    pub object: Value,
}

/// One change of one field, as the changelog shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Change {
    /// Jira's number.
    pub id: u64,
    /// Who made it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// `status`, `assignee` or `labels`.
    pub field: String,
    /// The id before.
    pub from: Option<String>,
    /// The words before.
    pub from_text: Option<String>,
    /// The id after.
    pub to: Option<String>,
    /// The words after.
    pub to_text: Option<String>,
    /// The transition that was taken: its id and name.
    pub transition: Option<(String, String)>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            users: BTreeMap::new(),
            credentials: Vec::new(),
            projects: BTreeMap::new(),
            issues: BTreeMap::new(),
            workflow: Workflow::default(),
            settings: Settings::default(),
            stale_index: None,
            last_id: 10_000,
            last_time: Timestamp::UNIX_EPOCH,
        }
    }

    /// A new number; comments, issues and links share one row of numbers.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The time in whole milliseconds; no two calls get the same, so that order by time is order of events.
    pub(super) fn now(&mut self) -> Timestamp {
        let now =
            Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or(Timestamp::UNIX_EPOCH);
        self.last_time = now.max(self.last_time + SignedDuration::from_millis(1));
        self.last_time
    }

    /// An issue by number or, in any case, by key.
    pub(super) fn issue(&self, id_or_key: &str) -> Option<&Issue> {
        self.issues.get(&self.issue_id(id_or_key)?)
    }

    pub(super) fn issue_mut(&mut self, id_or_key: &str) -> Option<&mut Issue> {
        let id = self.issue_id(id_or_key)?;
        self.issues.get_mut(&id)
    }

    fn issue_id(&self, id_or_key: &str) -> Option<u64> {
        let by_key = |issue: &&Issue| issue.key.eq_ignore_ascii_case(id_or_key);
        id_or_key.parse().ok().or_else(|| self.issues.values().find(by_key).map(|issue| issue.id))
    }

    /// Where a comment is: the issue's number and its place there.
    pub(super) fn comment_mut(&mut self, id: &str) -> Option<&mut Comment> {
        let id: u64 = id.parse().ok()?;
        self.issues.values_mut().flat_map(|issue| &mut issue.comments).find(|comment| comment.id == id)
    }

    /// Marks the issue as changed just now.
    pub(super) fn touch(&mut self, id: u64) -> Timestamp {
        let now = self.now();
        if let Some(issue) = self.issues.get_mut(&id) {
            issue.updated = now;
        }
        now
    }

    /// Assigns, in words that the changelog shows.
    pub(super) fn assign(&mut self, id: u64, assignee: Option<String>, by: &str) {
        let name = |account: &Option<String>| {
            account.as_ref().and_then(|account| self.users.get(account)).map(|user| user.name.clone())
        };
        let Some(before) = self.issues.get(&id).map(|issue| issue.assignee.clone()) else {
            return;
        };
        let (from_text, to_text) = (name(&before), name(&assignee));
        if before == assignee {
            return;
        }
        let field = "assignee".to_owned();
        let change =
            Change { field, from: before, from_text, to: assignee.clone(), to_text, ..Change::default() };
        self.record(id, by, change);
        if let Some(issue) = self.issues.get_mut(&id) {
            issue.assignee = assignee;
        }
    }

    /// Sets the labels, sorted and without repetition.
    pub(super) fn set_labels(&mut self, id: u64, labels: Vec<String>, by: &str) {
        let labels: Vec<String> = labels.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let Some(before) = self.issues.get(&id).map(|issue| issue.labels.clone()) else {
            return;
        };
        if before == labels {
            return;
        }
        let (from_text, to_text) = (Some(before.join(" ")), Some(labels.join(" ")));
        let change = Change { field: "labels".to_owned(), from_text, to_text, ..Change::default() };
        self.record(id, by, change);
        if let Some(issue) = self.issues.get_mut(&id) {
            issue.labels = labels;
        }
    }

    /// Sets the status; `transition` is what was taken to get there, `None` when it was set from outside.
    pub(super) fn set_status(
        &mut self,
        id: u64,
        status: &str,
        by: &str,
        transition: Option<(String, String)>,
    ) {
        let Some(before) = self.issues.get(&id).map(|issue| issue.status.clone()) else {
            return;
        };
        let change = Change {
            field: "status".to_owned(),
            from: self.workflow.status_id(&before),
            from_text: Some(before),
            to: self.workflow.status_id(status),
            to_text: Some(status.to_owned()),
            transition,
            ..Change::default()
        };
        self.record(id, by, change);
        if let Some(issue) = self.issues.get_mut(&id) {
            issue.status = status.to_owned();
        }
    }

    fn record(&mut self, issue: u64, by: &str, change: Change) {
        let change = Change { id: self.next_id(), by: by.to_owned(), at: self.touch(issue), ..change };
        if let Some(issue) = self.issues.get_mut(&issue) {
            issue.history.push(change);
        }
    }
}
