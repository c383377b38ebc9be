//! Jira, GitHub (with git over HTTP) and model services in memory, at HTTP on loopback, for tests and the demo.

pub mod git_http;
pub mod github;
pub mod problems;
