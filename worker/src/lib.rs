//! The worker of jira-agent, in suggested reading order.

pub mod git;
pub mod workspace_dir;
