//! What is wrong with the settings: all of it at once, each with its remedy.

use std::fmt;

use regex::Regex;

use crate::redact::Redactor;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, e.g. `worker.run_deadline`.
    pub field: String,
    /// Where the value is from, e.g. ``file `jira-agent.toml` ``.
    pub source: String,
    /// What is wrong with it. Never the value of a secret.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}; {}", self.field, self.source, self.why, self.fix)
    }
}

/// Settings that cannot be used: every problem that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// What is wrong, never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl ConfigError {
    /// An error when there are problems, else `value`.
    pub(super) fn unless_none<T>(problems: Vec<Problem>, value: T) -> Result<T, Self> {
        if problems.is_empty() { Ok(value) } else { Err(Self { problems }) }
    }
}

/// A value as it may be shown: on one line, of readable length, and without what looks like a token or a password
/// that somebody put into the wrong key.
pub(super) fn shown(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let clean = Redactor::default().redact(&line).into_owned();
    // `user:password@` of an address that lacks its scheme.
    match Regex::new(r#"[^\s"'`]*:[^\s"'`]*@"#) {
        Ok(user) => user.replace_all(&clean, "***@").into_owned(),
        Err(_) => clean,
    }
}
