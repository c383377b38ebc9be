//! Moving a ticket through its workflow, whose transitions are read each time: their ids depend on the state.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::issue::issue_call;
use super::{Jira, JiraError, wire};
use crate::domain::IssueKey;
use crate::rest::Call;

/// How often a move is tried when the ticket changes meanwhile or an answer is lost.
const ROUNDS: usize = 3;

/// Names of resolutions that say that the work is done, best first.
const RESOLUTIONS: [&str; 5] = ["done", "fixed", "resolved", "completed", "complete"];

/// A move that the workflow offers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Its id, valid in the current state only.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The state it leads to.
    pub to: String,
    /// Fields of its screen that must be filled and have no default.
    pub required: Vec<RequiredField>,
}

/// A field that a transition wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredField {
    /// Its key, e.g. `customfield_10010`.
    pub key: String,
    /// The name people see.
    pub name: String,
    /// The values it may have, as id and name; empty where they are not listed.
    pub allowed: Vec<(String, String)>,
}

/// What became of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveOutcome {
    /// The ticket was there.
    Already {
        /// The state.
        state: String,
    },
    /// It is there now.
    Moved {
        /// The state.
        to: String,
    },
    /// No wanted state can be reached from here.
    Unreachable {
        /// The states that can be; empty also when the account may not transition issues.
        available: Vec<String>,
    },
    /// The transition wants fields that only a person can fill.
    NeedsFields {
        /// The transition's name.
        transition: String,
        /// The fields' names.
        fields: Vec<String>,
    },
}

impl Jira {
    /// What the workflow offers in the current state.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn transitions(&self, key: &IssueKey) -> Result<Vec<Transition>, JiraError> {
        let call = Call::get(format!("the transitions of {key}"), "the permission Browse projects")
            .at(["issue", &key.to_string(), "transitions"])
            .query("expand", "transitions.fields");
        let answer: wire::Transitions = self.read(&call).await?;
        let available = answer.transitions.into_iter().filter(|it| it.is_available != Some(false));
        Ok(available.map(Transition::from).collect())
    }

    /// Moves the ticket to the first of the wanted states that it can reach. A wanted name is a transition's id or name
    /// or a state's name, in any case; states are best, as only they tell that the ticket is there already.
    ///
    /// # Errors
    /// See [`JiraError`].
    pub async fn move_to(&self, key: &IssueKey, wanted: &[String]) -> Result<MoveOutcome, JiraError> {
        let mut sent_to = None;
        let mut last = None;
        for _ in 0..ROUNDS {
            let state = self.state(key).await?;
            if sent_to.as_ref() == Some(&state) {
                return Ok(MoveOutcome::Moved { to: state });
            }
            if wanted.iter().any(|name| same(name, &state)) {
                return Ok(MoveOutcome::Already { state });
            }
            let offered = self.transitions(key).await?;
            let candidates: Vec<&Transition> =
                wanted.iter().filter_map(|name| find(&offered, name)).collect();
            if candidates.iter().any(|transition| same(&transition.to, &state)) {
                return Ok(MoveOutcome::Already { state });
            }
            let choice = match self.choose(key, &candidates).await? {
                Choice::Take(transition, fields) => (transition, fields),
                Choice::Needs(outcome) => return Ok(outcome),
                Choice::Nothing => {
                    let mut available: Vec<String> = offered.into_iter().map(|it| it.to).collect();
                    available.dedup();
                    return Ok(MoveOutcome::Unreachable { available });
                }
            };
            let (transition, fields) = choice;
            match self.take(key, transition, fields).await {
                Ok(()) => {
                    return Ok(MoveOutcome::Moved { to: transition.to.clone() });
                }
                Err(JiraError::Invalid { fields, .. }) if !fields.is_empty() => {
                    return Ok(MoveOutcome::NeedsFields {
                        transition: transition.name.clone(),
                        fields: fields.iter().map(|field| transition.field_name(field)).collect(),
                    });
                }
                Err(error) if error.is_ambiguous() => {
                    sent_to = Some(transition.to.clone());
                    last = Some(error);
                }
                // The list may be out of date when somebody else moved the ticket meanwhile.
                Err(error @ JiraError::Invalid { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let call = issue_call(key, "status");
        Err(last.unwrap_or_else(|| JiraError::unexpected(&call, "its state does not come to rest")))
    }

    async fn state(&self, key: &IssueKey) -> Result<String, JiraError> {
        let issue: wire::Issue = self.read(&issue_call(key, "status")).await?;
        Ok(issue.fields.status.name)
    }

    async fn take(
        &self,
        key: &IssueKey,
        transition: &Transition,
        fields: Map<String, Value>,
    ) -> Result<(), JiraError> {
        let mut body = json!({"transition": {"id": transition.id}});
        if !fields.is_empty() {
            body["fields"] = Value::Object(fields);
        }
        let what = format!("the transition {} of {key}", transition.name);
        let call = Call::new(Method::POST, what, "the permission Transition issues (scope write:jira-work)")
            .at(["issue", &key.to_string(), "transitions"])
            .json(body);
        self.send(&call).await.map(|_| ())
    }

    /// The first candidate whose fields are filled or can be.
    async fn choose<'t>(
        &self,
        key: &IssueKey,
        candidates: &[&'t Transition],
    ) -> Result<Choice<'t>, JiraError> {
        let mut needs = None;
        for transition in candidates {
            let (fields, mut missing) = transition.fill();
            if !missing.is_empty() {
                missing = self.without_value(key, missing).await?;
            }
            if missing.is_empty() {
                return Ok(Choice::Take(transition, fields));
            }
            needs.get_or_insert_with(|| MoveOutcome::NeedsFields {
                transition: transition.name.clone(),
                fields: missing.iter().map(|field| field.name.clone()).collect(),
            });
        }
        Ok(needs.map_or(Choice::Nothing, Choice::Needs))
    }

    /// The fields that the issue has no value for: only those must be sent.
    async fn without_value<'t>(
        &self,
        key: &IssueKey,
        fields: Vec<&'t RequiredField>,
    ) -> Result<Vec<&'t RequiredField>, JiraError> {
        let names: Vec<&str> = fields.iter().map(|field| field.key.as_str()).collect();
        let issue: Value = self.read(&issue_call(key, &names.join(","))).await?;
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        let mut fields = fields;
        fields.retain(|field| is_empty(&issue["fields"][field.key.as_str()]));
        Ok(fields)
    }
}

enum Choice<'t> {
    Take(&'t Transition, Map<String, Value>),
    Needs(MoveOutcome),
    Nothing,
}

impl Transition {
    /// What can be filled in without a person, and what cannot.
    fn fill(&self) -> (Map<String, Value>, Vec<&RequiredField>) {
        let (mut fields, mut missing) = (Map::new(), Vec::new());
        for field in &self.required {
            match field.resolution() {
                Some(value) => {
                    fields.insert(field.key.clone(), value);
                }
                None => missing.push(field),
            }
        }
        (fields, missing)
    }

    fn field_name(&self, key: &str) -> String {
        let known = self.required.iter().find(|field| field.key == key);
        known.map_or_else(|| key.to_owned(), |field| field.name.clone())
    }
}

impl RequiredField {
    /// The value when this is the resolution: the one that says "done", else the first that is offered.
    fn resolution(&self) -> Option<Value> {
        if self.key != "resolution" {
            return None;
        }
        let named = |wanted: &&str| self.allowed.iter().find(|(_, name)| same(name, wanted));
        let (id, name) = RESOLUTIONS.iter().find_map(named).or_else(|| self.allowed.first())?;
        Some(if id.is_empty() { json!({"name": name}) } else { json!({"id": id}) })
    }
}

impl From<wire::Transition> for Transition {
    fn from(wire: wire::Transition) -> Self {
        let required =
            wire.fields.into_iter().filter(|(_, field)| field.required && !field.has_default_value);
        Self {
            to: if wire.to.name.is_empty() { wire.name.clone() } else { wire.to.name },
            id: wire.id,
            name: wire.name,
            required: required
                .map(|(key, field)| RequiredField {
                    name: if field.name.is_empty() { key.clone() } else { field.name },
                    key,
                    allowed: field.allowed_values.into_iter().map(|value| (value.id, value.name)).collect(),
                })
                .collect(),
        }
    }
}

fn find<'t>(offered: &'t [Transition], wanted: &str) -> Option<&'t Transition> {
    let by = |fits: &dyn Fn(&&Transition) -> bool| offered.iter().find(|transition| fits(transition));
    by(&|it| it.id == wanted.trim())
        .or_else(|| by(&|it| same(&it.name, wanted)))
        .or_else(|| by(&|it| same(&it.to, wanted)))
}

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}
