//! The simulator over HTTP, as its clients meet it.

#[cfg(test)]
mod adf;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod control;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod github;
#[cfg(test)]
mod jira;
#[cfg(test)]
mod jira_writes;
#[cfg(test)]
mod models;
#[cfg(test)]
mod models_misbehaving;
#[cfg(test)]
mod search;
#[cfg(test)]
mod support;
