//! The steps of a run, in order. They know nothing of each other: each takes the product of the one before.

pub mod check;
pub mod claim;
pub mod context;
pub mod edit;
pub mod plan;
pub mod publish;
pub mod report;
pub mod workspace;

/// Every step's name, in the order of a run.
const NAMES: [&str; 8] = ["claim", "workspace", "context", "plan", "edit", "check", "publish", "report"];

/// The step of this name.
#[must_use]
pub fn named(word: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|name| *name == word)
}
