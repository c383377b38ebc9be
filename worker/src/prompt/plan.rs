//! A plan: what the model proposes, people approve and a later run carries out.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::clean::{clean_line, clean_untrusted};
use super::reply::{ReplyKind, way_out, without_thinking};

/// The version of the form.
const VERSION: u64 = 1;
/// The most files of a plan.
const MOST_CHANGES: usize = 50;
/// The most entries of a list.
const MOST_ENTRIES: usize = 20;
const SUMMARY_LIMIT: usize = 120;
const ENTRY_LIMIT: usize = 1_000;
const STRATEGY_LIMIT: usize = 6_000;
const PATH_LIMIT: usize = 400;
/// Where a plan may begin is tried this often.
const MOST_OBJECTS: usize = 200;

/// A plan. Its JSON is deterministic and is what the plan commit holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The version of the form, 1.
    pub version: u64,
    /// One imperative line.
    pub summary: String,
    /// The files to touch, each once; at most 50.
    pub changes: Vec<PlannedFile>,
    /// How.
    pub strategy: String,
    /// What tests will cover.
    pub tests: Vec<String>,
    /// What may go wrong.
    pub risks: Vec<String>,
    /// What only people can decide.
    pub questions: Vec<String>,
}

/// A file of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// The path from the repository's root, inside it.
    pub path: String,
    /// What is to be done with it.
    pub action: PlannedAction,
    /// Why.
    pub why: String,
}

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedAction {
    /// An existing file changes.
    Change,
    /// A new file.
    Create,
    /// A file goes.
    Delete,
}

impl fmt::Display for PlannedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Change => "change",
            Self::Create => "create",
            Self::Delete => "delete",
        })
    }
}

impl Plan {
    /// The canonical JSON; [`parse_plan`] reads it back to an equal plan.
    #[must_use]
    #[expect(clippy::expect_used, reason = "texts, lists and a number always serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan is plain data")
    }
}

/// Why a reply is not a plan. The text says what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// There is no JSON object with a plan's fields.
    #[error("there is no JSON object with `summary` and `changes` in it")]
    Missing,
    /// The version is of a newer program.
    #[error("`version` must be 1")]
    Version,
    /// A required text is not there.
    #[error("`{field}` must be a text and not empty")]
    Empty {
        /// Which.
        field: &'static str,
    },
    /// There is nothing to do and nothing to ask.
    #[error(
        "`changes` must name the files to touch, or `questions` must say what keeps you from naming them"
    )]
    NoChanges,
    /// There is too much to do.
    #[error("`changes` names {found} files, and a plan may name {MOST_CHANGES}; plan a smaller change")]
    TooManyChanges {
        /// How many.
        found: usize,
    },
    /// Something unknown is to be done with a file.
    #[error("`action` of `{path}` must be `change`, `create` or `delete`")]
    Action {
        /// The file.
        path: String,
    },
    /// A path does not stay inside the repository.
    #[error("`{path}` is not a path inside the repository: it {why}")]
    Path {
        /// The path, cut.
        path: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

/// A reply to the question for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanReply {
    /// A plan.
    Plan(Plan),
    /// The repository already does what the ticket asks.
    NothingToChange {
        /// Why the model thinks so.
        reason: String,
    },
    /// Only a person can say how to go on.
    NeedsHuman {
        /// What the model asks.
        question: String,
    },
}

/// Reads a reply to the question for a plan.
///
/// # Errors
/// When it is neither a plan nor one of the ways out.
pub fn parse_plan_reply(reply: &str) -> Result<PlanReply, PlanProblem> {
    let problem = match parse_plan(reply) {
        Ok(plan) => return Ok(PlanReply::Plan(plan)),
        Err(problem) => problem,
    };
    let lines: Vec<&str> = without_thinking(reply).lines().collect();
    match way_out(&lines, lines.len()) {
        Some(ReplyKind::NothingToChange { reason }) => Ok(PlanReply::NothingToChange { reason }),
        Some(ReplyKind::NeedsHuman { question }) => Ok(PlanReply::NeedsHuman { question }),
        _ => Err(problem),
    }
}

/// Reads the plan in a reply or in the message of a plan commit: the last JSON object that is one, in a fence or
/// bare, with any words around. Unknown fields are ignored and missing lists are empty.
///
/// # Errors
/// When there is none, or the last object that has a plan's fields breaks its rules.
pub fn parse_plan(text: &str) -> Result<Plan, PlanProblem> {
    let mut last_problem = None;
    let mut plan = None;
    for object in objects(without_thinking(text)) {
        match read(&object) {
            Ok(good) => plan = Some(good),
            Err(problem) if object.get("changes").is_some() || object.get("summary").is_some() => {
                last_problem = Some(problem);
            }
            Err(_) => {}
        }
    }
    plan.ok_or_else(|| last_problem.unwrap_or(PlanProblem::Missing))
}

/// The JSON objects of a text, outermost only.
fn objects(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..MOST_OBJECTS {
        let Some(rest) = text.get(at..) else { break };
        let Some(brace) = rest.find('{') else { break };
        let rest = rest.get(brace..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let length = match values.next() {
            Some(Ok(value)) => {
                found.push(value);
                values.byte_offset()
            }
            _ => 1,
        };
        at += brace + length;
    }
    found
}

fn read(object: &Value) -> Result<Plan, PlanProblem> {
    if !version_is_known(object.get("version")) {
        return Err(PlanProblem::Version);
    }
    let summary = clean_line(&prose(object.get("summary"), " "), SUMMARY_LIMIT);
    if summary.is_empty() {
        return Err(PlanProblem::Empty { field: "summary" });
    }
    let listed: &[Value] = match object.get("changes") {
        Some(Value::Array(listed)) => listed,
        None | Some(Value::Null) => &[],
        Some(_) => return Err(PlanProblem::NoChanges),
    };
    let questions = entries(object.get("questions"));
    if listed.is_empty() && questions.is_empty() {
        return Err(PlanProblem::NoChanges);
    }
    if listed.len() > MOST_CHANGES {
        return Err(PlanProblem::TooManyChanges { found: listed.len() });
    }
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for file in listed {
        let file = planned_file(file)?;
        if seen.insert(file.path.clone()) {
            changes.push(file);
        }
    }
    Ok(Plan {
        version: VERSION,
        summary,
        changes,
        strategy: clean_untrusted(&prose(object.get("strategy"), "\n"), STRATEGY_LIMIT),
        tests: entries(object.get("tests")),
        risks: entries(object.get("risks")),
        questions,
    })
}

fn version_is_known(version: Option<&Value>) -> bool {
    match version {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => ["1", "1.0"].contains(&text.trim()),
        Some(number) => number.as_f64() == Some(1.0),
    }
}

fn planned_file(value: &Value) -> Result<PlannedFile, PlanProblem> {
    let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().trim();
    let path = match value.as_str() {
        Some(path) => path.trim(),
        None => word("path"),
    };
    let path = inside(path)?;
    let action = match word("action").to_ascii_lowercase().as_str() {
        "" | "change" | "modify" | "edit" | "update" => PlannedAction::Change,
        "create" | "add" | "new" => PlannedAction::Create,
        "delete" | "remove" => PlannedAction::Delete,
        _ => return Err(PlanProblem::Action { path }),
    };
    Ok(PlannedFile { path, action, why: clean_line(word("why"), ENTRY_LIMIT) })
}

/// A path from the root that stays below it. What a patch may touch is decided again when it is applied.
fn inside(path: &str) -> Result<String, PlanProblem> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts = || path.split('/');
    let why = if path.is_empty() {
        "is empty"
    } else if path.len() > PATH_LIMIT {
        "is too long"
    } else if path.contains('`') {
        "holds a backtick, behind which it could not be shown"
    } else if path.starts_with('/') || path.contains([':', '\\']) {
        "must be relative and written with `/`"
    } else if path.chars().any(super::is_hidden) || path.contains(['\n', '\t']) {
        "holds characters that nobody sees"
    } else if parts().any(|part| part.is_empty() || part == "." || part == "..") {
        "must name a file, without `.`, `..` or a doubled `/`"
    } else if parts().any(|part| part.eq_ignore_ascii_case(".git")) {
        "belongs to git itself"
    } else {
        return Ok(path.to_owned());
    };
    Err(PlanProblem::Path { path: clean_line(path, 120), why })
}

/// A text, or a list of texts as one.
fn prose(value: Option<&Value>, between: &str) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            texts.join(between)
        }
        _ => String::new(),
    }
}

/// A list of texts, or a text as a list of one. An entry that is an object gives its first text.
fn entries(value: Option<&Value>) -> Vec<String> {
    let values = match value {
        Some(Value::Array(values)) => values.as_slice(),
        Some(value @ Value::String(_)) => std::slice::from_ref(value),
        _ => &[],
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.values().find_map(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    values
        .iter()
        .map(|value| clean_line(&text(value), ENTRY_LIMIT))
        .filter(|text| !text.is_empty())
        .take(MOST_ENTRIES)
        .collect()
}

#[cfg(test)]
mod tests;
