//! The simulator over HTTP, as its clients meet it.

mod adf;
mod binary;
mod control;
mod faults;
mod jira;
mod jira_writes;
mod models;
mod models_misbehaving;
mod search;
mod support;
