use std::fmt;
use std::io::Write as _;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, but not always or not well.
    Warning,
    /// A run would fail.
    Broken,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Broken => "broken",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What was looked at, e.g. `queue`.
    pub area: &'static str,
    /// What was found.
    pub text: String,
    /// What to do; empty when nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Finding {
    pub(super) fn fine(area: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Fine, area, text: text.into(), fix: String::new() }
    }

    pub(super) fn warning(area: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warning, area, text: text.into(), fix: fix.into() }
    }

    pub(super) fn broken(area: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Broken, area, text: text.into(), fix: fix.into() }
    }
}

pub(super) fn print(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &serde_json::json!({ "findings": findings }))?;
        writeln!(out)?;
        return Ok(());
    }
    for finding in findings {
        writeln!(out, "{:<8} {:<9} {}", finding.level, finding.area, finding.text)?;
        if !finding.fix.is_empty() {
            writeln!(out, "{:<18} fix: {}", "", finding.fix)?;
        }
    }
    Ok(())
}
