//! The worker of jira-agent: one ticket to one pull request.

mod marks;
pub mod tree;

pub mod edit;
pub mod search;

pub mod syntax;
