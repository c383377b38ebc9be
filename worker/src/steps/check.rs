//! Check: does every file of the patch still parse as well as before.

use std::fmt;

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
    let mut counts = Counts::default();
    for (path, change) in &patch.changes {
        let Change::Write { bytes, .. } = change else { continue };
        match syntax::check(path, patch.before(path), bytes) {
            SyntaxVerdict::Clean => counts.parsed += 1,
            SyntaxVerdict::SameAsBefore => counts.broken_before += 1,
            SyntaxVerdict::Doubtful { errors } => {
                counts.doubtful += 1;
                report.checks.extend(errors.iter().map(|error| format!("note: {path}: perhaps {error}")));
            }
            SyntaxVerdict::Unknown => counts.unchecked += 1,
            SyntaxVerdict::Worse { errors } => {
                report.errors.extend(errors.iter().map(|error| format!("{path}: {error}")));
            }
        }
    }
    report.checks.insert(0, counts.to_string());
    report.checks.extend(patch.warnings.iter().map(|warning| format!("note: {warning}")));
    report
}

/// What the syntax check did with the files that were written: one that it looked at none says so.
#[derive(Default)]
struct Counts {
    parsed: usize,
    broken_before: usize,
    doubtful: usize,
    unchecked: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let Self { parsed, broken_before, doubtful, unchecked } = *self;
        let sound = parsed + broken_before;
        if sound + doubtful == 0 {
            return write!(
                f,
                "syntax: not checked, {} that I can parse",
                if unchecked == 0 { "no file was written" } else { "no file was written in a form" }
            );
        }
        write!(f, "syntax: {} parsed, no new errors", files(sound))?;
        for (count, what) in [
            (broken_before, "had errors before"),
            (doubtful, "may have errors, see below"),
            (unchecked, "not checked"),
        ] {
            if count > 0 {
                write!(f, "; {} {what}", files(count))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(parsed: usize, broken_before: usize, doubtful: usize, unchecked: usize) -> String {
        Counts { parsed, broken_before, doubtful, unchecked }.to_string()
    }

    #[test]
    fn a_check_that_looked_at_nothing_is_not_called_a_pass() {
        assert_eq!(said(0, 0, 0, 2), "syntax: not checked, no file was written in a form that I can parse");
        assert_eq!(said(0, 0, 0, 0), "syntax: not checked, no file was written that I can parse");
        assert_eq!(said(1, 0, 0, 0), "syntax: 1 file parsed, no new errors");
        assert_eq!(
            said(2, 1, 1, 1),
            "syntax: 3 files parsed, no new errors; 1 file had errors before; 1 file may have errors, see below; \
             1 file not checked"
        );
    }
}
