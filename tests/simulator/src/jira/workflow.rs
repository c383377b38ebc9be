//! Which statuses there are and which transitions lead from one to another.

use serde::{Deserialize, Serialize};

/// A workflow; all projects share one. The transitions' ids depend on the status an issue is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// The statuses; new issues start in the first.
    pub statuses: Vec<Status>,
    /// The transitions.
    pub transitions: Vec<Transition>,
}

/// A status.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The name people see.
    pub name: String,
    /// Its column on a board.
    pub category: Category,
}

/// The categories that Jira knows, under their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// To do.
    New,
    /// In progress.
    Indeterminate,
    /// Done.
    Done,
}

/// A way from one status to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// The name people see; often not the status' name.
    pub name: String,
    /// The status it starts from; unset: from anywhere.
    #[serde(default)]
    pub from: Option<String>,
    /// The status it ends in.
    pub to: String,
}

impl Default for Workflow {
    /// `To Do`, `In Progress`, `In Testing`, `Done`; every one can be reached from every other.
    fn default() -> Self {
        let status = |name: &str, category| Status { name: name.to_owned(), category };
        let statuses = vec![
            status("To Do", Category::New),
            status("In Progress", Category::Indeterminate),
            status("In Testing", Category::Indeterminate),
            status("Done", Category::Done),
        ];
        let names = ["Stop work", "Start work", "Send to testing", "Close"];
        let mut transitions = Vec::new();
        for from in &statuses {
            for (to, name) in statuses.iter().zip(names).filter(|(to, _)| to.name != from.name) {
                let (name, from) = (name.to_owned(), Some(from.name.clone()));
                transitions.push(Transition { name, from, to: to.name.clone() });
            }
        }
        Self { statuses, transitions }
    }
}

impl Workflow {
    /// A transition's id: no two transitions have the same, so an id of another status is not valid here.
    pub(super) fn transition_id(index: usize) -> String {
        ((index + 1) * 10 + 1).to_string()
    }

    /// The transitions out of `status`, with their ids.
    pub(super) fn transitions_from(&self, status: &str) -> impl Iterator<Item = (String, &Transition)> {
        let numbered = self.transitions.iter().enumerate();
        numbered
            .filter(move |(_, it)| it.from.as_deref().is_none_or(|from| from == status))
            .map(|(index, it)| (Self::transition_id(index), it))
    }

    pub(super) fn status(&self, name: &str) -> Option<&Status> {
        self.statuses.iter().find(|status| status.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn status_id(&self, name: &str) -> Option<String> {
        let index = self.statuses.iter().position(|status| status.name.eq_ignore_ascii_case(name))?;
        Some((10_000 + index).to_string())
    }

    /// Why this workflow cannot be, if it cannot.
    pub(super) fn problem(&self) -> Option<String> {
        if self.statuses.is_empty() {
            return Some("a workflow needs at least one status".to_owned());
        }
        let named =
            self.transitions.iter().flat_map(|it| it.from.iter().chain([&it.to]).map(move |name| (it, name)));
        named.into_iter().find(|(_, name)| self.status(name).is_none()).map(|(transition, name)| {
            format!("transition {:?} names {name:?}, which is no status", transition.name)
        })
    }
}
