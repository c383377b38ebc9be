//! Check: does every file of the patch still parse as well as before.

use anyhow::Context as _;

use crate::edit::{Change, Patch};
use crate::products::{AppliedPatch, CheckReport, Checked};
use crate::syntax::{self, SyntaxVerdict};

/// The step's answer.
#[derive(Debug)]
pub enum CheckOutcome {
    /// The patch may be published.
    Passed(Box<Checked>),
    /// The patch breaks something.
    Failed {
        /// What.
        report: CheckReport,
        /// The patch, to be corrected.
        applied: Box<AppliedPatch>,
    },
}

/// Runs the step.
///
/// # Errors
/// When the checks themselves fail.
pub async fn run(applied: AppliedPatch) -> anyhow::Result<CheckOutcome> {
    let checking = tokio::task::spawn_blocking(move || (examine(&applied.patch), applied));
    let (report, applied) = checking.await.context("checking the syntax")?;
    if report.errors.is_empty() {
        return Ok(CheckOutcome::Passed(Box::new(Checked { applied, checks: report.checks })));
    }
    Ok(CheckOutcome::Failed { report, applied: Box::new(applied) })
}

/// Why the run ends when a corrected patch still fails.
#[must_use]
pub fn gave_up(report: &CheckReport) -> String {
    format!(
        "the patch that I wrote breaks the syntax, and so did its correction: {}",
        report.errors.join("; ")
    )
}

fn examine(patch: &Patch) -> CheckReport {
    let mut report = CheckReport::default();
    let (mut parsed, mut broken_before, mut uncovered) = (0, 0, 0);
    for (path, change) in &patch.changes {
        let Change::Write { bytes, .. } = change else { continue };
        match syntax::check(path, patch.before(path), bytes) {
            SyntaxVerdict::Clean => parsed += 1,
            SyntaxVerdict::SameAsBefore => broken_before += 1,
            SyntaxVerdict::Doubtful { errors } => {
                parsed += 1;
                report.checks.extend(errors.iter().map(|error| format!("note: {path}: perhaps {error}")));
            }
            SyntaxVerdict::Unknown => uncovered += 1,
            SyntaxVerdict::Worse { errors } => {
                report.errors.extend(errors.iter().map(|error| format!("{path}: {error}")));
            }
        }
    }
    report.checks.push(sentence(parsed, broken_before, uncovered));
    report.checks.extend(patch.warnings.iter().map(|warning| format!("note: {warning}")));
    report
}

/// What the syntax check did, with counts: a check that looked at nothing says so.
fn sentence(parsed: usize, broken_before: usize, uncovered: usize) -> String {
    if parsed + broken_before == 0 {
        return "syntax: not checked, no file is in a language that I can parse".to_owned();
    }
    let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let mut text = format!("syntax: {} parsed, no new errors", files(parsed + broken_before));
    if broken_before > 0 {
        text.push_str(&format!("; {} had errors before", files(broken_before)));
    }
    if uncovered > 0 {
        text.push_str(&format!("; {} in other languages not checked", files(uncovered)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_looked_at_nothing_is_not_called_a_pass() {
        assert_eq!(sentence(0, 0, 2), "syntax: not checked, no file is in a language that I can parse");
        assert_eq!(sentence(1, 0, 0), "syntax: 1 file parsed, no new errors");
        assert_eq!(
            sentence(2, 1, 1),
            "syntax: 3 files parsed, no new errors; 1 file had errors before; 1 file in other languages not checked"
        );
    }
}
