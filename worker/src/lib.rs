//! The worker of jira-agent: one ticket to one pull request.

pub mod edit;

pub mod tree;
