//! Jira Cloud, REST v3.
pub mod adf;
