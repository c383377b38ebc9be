//! The message on the queue, and how a body becomes one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AccountId, BranchName, CommitId, InvalidId, IssueKey, RepoUrl, TaskId, TicketKey};

/// The version of the wire format that this program writes, and the only one it reads.
pub const TASK_VERSION: u64 = 1;

/// Bodies above this size in bytes are refused unread: a task carries ids, never content.
const BODY_LIMIT: usize = 256 * 1024;

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Straight to a pull request.
    Quickfix,
    /// A draft pull request with a plan, then wait for approval.
    Plan,
    /// Carry out an approved plan.
    Execute,
    /// Iterate on review or on a ticket comment.
    Revise,
    /// The checks on the agent's branch failed: mend them.
    FixChecks,
}

impl Mode {
    /// Every mode, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Quickfix, Self::Plan, Self::Execute, Self::Revise, Self::FixChecks];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quickfix => "quickfix",
            Self::Plan => "plan",
            Self::Execute => "execute",
            Self::Revise => "revise",
            Self::FixChecks => "fix-checks",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let known = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| InvalidId::new(text, "a mode (quickfix, plan, execute, revise or fix-checks)"))
    }
}

/// The road on which a task arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TriggerKind {
    /// A person or a script with the command line.
    Cli,
    /// A webhook of Jira or GitHub about something other than the kinds below.
    Webhook,
    /// The JQL poller.
    Poll,
    /// A label was added; the task is superseded when the label is gone.
    Label,
    /// The ticket was assigned to the agent; the task is superseded when it no longer is.
    Assignment,
    /// A comment with a command.
    Comment,
}

/// What made this task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The road.
    pub kind: TriggerKind,
    /// The identity of the triggering thing on that road: a delivery id, a label's name, a comment's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// Who approved which plan on which base. `/approve` binds to both commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The plan commit.
    pub plan: CommitId,
    /// The commit of the base branch that the plan was made for.
    pub base: CommitId,
    /// The person.
    pub by: AccountId,
}

/// One order to work on one ticket. It carries ids, never content: the worker reads the ticket afresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The id of the task and of its run.
    pub id: TaskId,
    /// The ticket.
    pub ticket: TicketKey,
    /// The repository, or `None` to have it routed from the ticket.
    pub repository: Option<RepoUrl>,
    /// The branch to start from and merge into, or `None` for the route's or the repository's default.
    pub base_branch: Option<BranchName>,
    /// What to do, or `None` to have it read from the ticket's labels.
    pub mode: Option<Mode>,
    /// Who asked.
    pub requested_by: Option<AccountId>,
    /// What asked.
    pub trigger: Option<Trigger>,
    /// When it was asked.
    pub requested_at: Option<Timestamp>,
    /// Present in mode `execute`.
    pub approval: Option<Approval>,
    /// Run even though the ticket has no newer input than the last run saw.
    pub forced: bool,
}

impl Task {
    /// A task for `ticket` with a new id and everything else left to routing.
    #[must_use]
    pub fn new(ticket: TicketKey) -> Self {
        Self {
            id: TaskId::generate(),
            ticket,
            repository: None,
            base_branch: None,
            mode: None,
            requested_by: None,
            trigger: None,
            requested_at: None,
            approval: None,
            forced: false,
        }
    }

    /// When it was asked for: as it says, else when its id was made.
    #[must_use]
    pub fn asked_at(&self) -> Timestamp {
        self.requested_at.unwrap_or_else(|| self.id.made_at())
    }

    /// The JSON body of this task.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire::from(self);
        // A struct of strings, numbers and maps with string keys always serialises.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

/// A body that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskBody {
    /// The task.
    pub task: Task,
    /// False when the body had no `task_id`: the id in `task` is new, and the body has to be published again
    /// with it before anything is done, so that a redelivery is the same run.
    pub had_id: bool,
}

/// Why a body is not a task. The text is for people and is shown on the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectedBody {
    /// More than 256 KiB.
    #[error("the body has {0} bytes; a task has at most {limit}", limit = BODY_LIMIT)]
    TooLarge(usize),
    /// Neither JSON nor a bare key.
    #[error("the body is neither a JSON object nor a bare ticket key: {0}")]
    NotATask(String),
    /// Written by a newer or a wrong program.
    #[error("task version {0} is not known; this worker reads version {known}", known = TASK_VERSION)]
    UnknownVersion(String),
    /// A field holds something it cannot hold.
    #[error("field `{field}`: {why}")]
    BadField {
        /// The field's name on the wire.
        field: &'static str,
        /// What is wrong and what was expected.
        why: String,
    },
}

impl TaskBody {
    /// Reads a message body: JSON of version 1, a JSON string, or the bare text of a ticket key.
    ///
    /// # Errors
    /// Says which field is wrong and what was expected; never panics, whatever the bytes.
    pub fn parse(body: &[u8]) -> Result<Self, RejectedBody> {
        if body.len() > BODY_LIMIT {
            return Err(RejectedBody::TooLarge(body.len()));
        }
        let text = std::str::from_utf8(body).map_err(|_| not_a_task("it is not UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with(['{', '"', '[']) {
            let ticket = text.parse().map_err(|error: InvalidId| not_a_task(&error.to_string()))?;
            return Ok(Self { task: Task::new(ticket), had_id: false });
        }
        match serde_json::from_str(text).map_err(|error| not_a_task(&error.to_string()))? {
            Value::String(key) => {
                let ticket = key.trim().parse().map_err(|error: InvalidId| not_a_task(&error.to_string()))?;
                Ok(Self { task: Task::new(ticket), had_id: false })
            }
            Value::Object(fields) => Self::from_fields(fields),
            _ => Err(not_a_task("it is JSON but not an object")),
        }
    }

    fn from_fields(mut fields: serde_json::Map<String, Value>) -> Result<Self, RejectedBody> {
        match fields.remove("version").unwrap_or(Value::Null) {
            Value::Null => {}
            Value::Number(version) if version.as_u64() == Some(TASK_VERSION) => {}
            other => return Err(RejectedBody::UnknownVersion(cut(&other.to_string()))),
        }
        let mut take = |field: &'static str| fields.remove(field).filter(|value| !value.is_null());
        let repository: Option<RepoUrl> =
            take("repo_url").map(|value| field("repo_url", value)).transpose()?;
        let issue = take("issue_id").ok_or_else(|| bad("issue_id", "it is required, e.g. \"PROJ-123\""))?;
        let ticket = ticket_key(&issue, repository.as_ref())?;
        let id = take("task_id").map(|value| field("task_id", value)).transpose()?;
        let task = Task {
            id: id.unwrap_or_else(TaskId::generate),
            ticket,
            repository,
            base_branch: take("base_branch").map(|value| field("base_branch", value)).transpose()?,
            mode: take("mode").map(mode_field).transpose()?,
            requested_by: take("trigger_user").map(|value| field("trigger_user", value)).transpose()?,
            trigger: take("trigger").map(|value| field("trigger", value)).transpose()?,
            requested_at: take("requested_at").map(|value| field("requested_at", value)).transpose()?,
            approval: take("approval").map(|value| field("approval", value)).transpose()?,
            forced: take("forced").map(|value| field("forced", value)).transpose()?.unwrap_or(false),
        };
        if task.mode == Some(Mode::Execute) && task.approval.is_none() {
            return Err(bad("approval", "mode execute needs the approved plan's commits"));
        }
        // It may be published again, with an id: what fits now has to fit then.
        let written = task.to_json().len();
        if written > BODY_LIMIT {
            return Err(RejectedBody::TooLarge(written));
        }
        Ok(Self { task, had_id: id.is_some() })
    }
}

fn ticket_key(issue: &Value, repository: Option<&RepoUrl>) -> Result<TicketKey, RejectedBody> {
    let number = match issue {
        Value::Number(number) => {
            let number = number.as_u64().filter(|number| *number > 0);
            Some(number.ok_or_else(|| bad("issue_id", "a GitHub issue number is a whole number from 1"))?)
        }
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    if let Some(number) = number.filter(|number| *number > 0) {
        let repository = repository
            .ok_or_else(|| bad("repo_url", "a numeric issue_id is a GitHub issue and needs repo_url"))?;
        return Ok(TicketKey::GitHub { repository: repository.slug().clone(), number });
    }
    let key: TicketKey = field("issue_id", issue.clone())?;
    if let (TicketKey::GitHub { repository: named, .. }, Some(url)) = (&key, repository)
        && named != url.slug()
    {
        return Err(bad("issue_id", &format!("it names {named}, but repo_url is {url}")));
    }
    Ok(key)
}

fn mode_field(value: Value) -> Result<Mode, RejectedBody> {
    let text: String = field("mode", value)?;
    text.parse().map_err(|error: InvalidId| bad("mode", &error.to_string()))
}

fn field<T: serde::de::DeserializeOwned>(name: &'static str, value: Value) -> Result<T, RejectedBody> {
    serde_json::from_value(value).map_err(|error| bad(name, &error.to_string()))
}

fn bad(field: &'static str, why: &str) -> RejectedBody {
    RejectedBody::BadField { field, why: cut(why) }
}

fn not_a_task(why: &str) -> RejectedBody {
    RejectedBody::NotATask(cut(why))
}

/// A reason travels in a message header, so it stays short whatever the body held.
fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The fields in the order in which they are written.
#[derive(Serialize)]
struct Wire<'task> {
    version: u64,
    task_id: TaskId,
    issue_id: WireIssue<'task>,
    repo_url: Option<&'task RepoUrl>,
    base_branch: Option<&'task BranchName>,
    mode: Option<Mode>,
    trigger_user: Option<&'task AccountId>,
    trigger: Option<&'task Trigger>,
    requested_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'task Approval>,
    forced: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireIssue<'task> {
    Jira(&'task IssueKey),
    Number(u64),
    Key(&'task TicketKey),
}

impl<'task> From<&'task Task> for Wire<'task> {
    fn from(task: &'task Task) -> Self {
        let issue_id = match (&task.ticket, &task.repository) {
            (TicketKey::Jira(key), _) => WireIssue::Jira(key),
            (TicketKey::GitHub { number, .. }, Some(_)) => WireIssue::Number(*number),
            (key @ TicketKey::GitHub { .. }, None) => WireIssue::Key(key),
        };
        Self {
            version: TASK_VERSION,
            task_id: task.id,
            issue_id,
            repo_url: task.repository.as_ref(),
            base_branch: task.base_branch.as_ref(),
            mode: task.mode,
            trigger_user: task.requested_by.as_ref(),
            trigger: task.trigger.as_ref(),
            requested_at: task.requested_at,
            approval: task.approval.as_ref(),
            forced: task.forced,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(body: &str) -> Result<TaskBody, RejectedBody> {
        TaskBody::parse(body.as_bytes())
    }

    #[test]
    fn a_bare_key_is_a_task_without_an_id() {
        for body in ["PROJ-123", " PROJ-123\n", "\"PROJ-123\"", "{\"issue_id\":\"PROJ-123\"}"] {
            let parsed = parse(body).unwrap();
            assert_eq!(parsed.task.ticket.to_string(), "PROJ-123", "{body}");
            assert!(!parsed.had_id);
        }
    }

    #[test]
    fn a_number_is_an_issue_of_the_named_repository() {
        let body = r#"{"repo_url":"https://github.com/acme/shop","issue_id":123,"mode":"plan","trigger_user":"dev1"}"#;
        let task = parse(body).unwrap().task;
        assert_eq!(task.ticket.to_string(), "acme/shop#123");
        assert_eq!(task.mode, Some(Mode::Plan));
        let error = parse(r#"{"issue_id":123}"#).unwrap_err().to_string();
        assert!(error.contains("repo_url"), "{error}");
    }

    #[test]
    fn the_full_body_of_the_contract_is_read_whole() {
        let body = r#"{"version":1,"task_id":"01K9ZW4R7M1S8T3V5X7Z9B1D3F","issue_id":"PROJ-123",
            "repo_url":"https://github.com/acme/shop","base_branch":null,"mode":"execute","trigger_user":"dev1",
            "trigger":{"kind":"webhook","id":"x"},"requested_at":"2026-01-30T12:00:00Z",
            "approval":{"plan":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","base":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","by":"dev2"},
            "forced":false}"#;
        let parsed = parse(body).unwrap();
        assert!(parsed.had_id);
        assert_eq!(parsed.task.approval.unwrap().by.as_str(), "dev2");
    }

    #[test]
    fn a_body_that_would_be_too_large_with_an_id_is_refused() {
        let body = |id: usize| {
            format!(r#"{{"issue_id":"PROJ-1","trigger":{{"kind":"cli","id":"{}"}}}}"#, "x".repeat(id))
        };
        assert!(body(BODY_LIMIT - 60).len() < BODY_LIMIT);
        assert!(matches!(parse(&body(BODY_LIMIT - 60)), Err(RejectedBody::TooLarge(_))));
        let written = parse(&body(BODY_LIMIT - 600)).unwrap().task.to_json();
        assert!(TaskBody::parse(&written).is_ok());
    }

    #[test]
    fn what_cannot_be_a_task_says_why() {
        for (body, part) in [
            ("", "bare ticket key"),
            ("hello", "ticket key"),
            ("{", "EOF"),
            ("[]", "not an object"),
            (r#"{"version":2,"issue_id":"A-1"}"#, "version 2"),
            (r#"{"version":"1","issue_id":"A-1"}"#, "version \"1\""),
            (r#"{"issue_id":"A-1","mode":"yolo"}"#, "quickfix, plan"),
            (r#"{"issue_id":"A-1","mode":"execute"}"#, "approval"),
            (r#"{"issue_id":0,"repo_url":"https://github.com/a/b"}"#, "from 1"),
            (r#"{"issue_id":"A-1","repo_url":"file:///etc"}"#, "repo_url"),
            (r#"{"issue_id":"a/b#1","repo_url":"https://github.com/a/c"}"#, "names a/b"),
            (r#"{"mode":"plan"}"#, "issue_id"),
            (r#"{"issue_id":"A-1","task_id":"7"}"#, "task_id"),
        ] {
            let error = parse(body).unwrap_err().to_string();
            assert!(error.contains(part), "{body}: {error}");
        }
    }

    fn any_mode() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            Just(Value::from("quickfix")),
            Just(Value::from("plan")),
            Just(Value::from("revise")),
            Just(Value::from("fix-checks")),
            "[a-z]{1,8}".prop_map(Value::from),
        ]
    }

    fn any_issue() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[A-Z][A-Z0-9_]{0,8}-[1-9][0-9]{0,6}".prop_map(Value::from),
            (0_u64..100_000).prop_map(Value::from),
            "[a-z]{1,6}/[a-z]{1,6}#[1-9]".prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn an_accepted_body_is_written_back_as_an_equal_task(
            issue in any_issue(),
            mode in any_mode(),
            repo in prop::option::of("https://[a-z]{1,8}\\.test/[a-z]{1,6}/[a-z]{1,6}(\\.git)?"),
            base in prop::option::of("[a-z/.]{1,10}"),
            user in prop::option::of(".{0,6}"),
            forced in any::<bool>(),
            seconds in prop::option::of(0_i64..4_000_000_000),
        ) {
            let body = serde_json::json!({
                "issue_id": issue, "mode": mode, "repo_url": repo, "base_branch": base, "trigger_user": user,
                "forced": forced,
                "requested_at": seconds.and_then(|s| Timestamp::from_second(s).ok()).map(|t| t.to_string()),
            });
            if let Ok(parsed) = TaskBody::parse(body.to_string().as_bytes()) {
                let again = TaskBody::parse(&parsed.task.to_json()).unwrap();
                prop_assert_eq!(again.task, parsed.task);
                prop_assert!(again.had_id);
            }
        }

        #[test]
        fn any_bytes_give_a_task_or_a_short_reason(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(reason) = TaskBody::parse(&body) {
                let reason = reason.to_string();
                prop_assert!(!reason.is_empty() && reason.len() < 2000);
            }
        }

        #[test]
        fn any_json_gives_a_task_or_a_short_reason(key in "[a-z_]{0,12}", text in ".{0,60}", number in any::<f64>()) {
            for body in [
                serde_json::json!({"issue_id": text}),
                serde_json::json!({"issue_id": number, "repo_url": "https://github.com/a/b"}),
                serde_json::json!({"issue_id": "A-1", key: text}),
            ] {
                if let Err(reason) = TaskBody::parse(body.to_string().as_bytes()) {
                    prop_assert!(!reason.to_string().is_empty());
                }
            }
        }
    }
}
