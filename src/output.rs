//! Data to standard output, words to standard error.

use std::io::Write as _;

use anyhow::Context as _;

/// Writes one line of data.
///
/// # Errors
/// When standard output is closed.
pub fn line(text: &str) -> anyhow::Result<()> {
    writeln!(anstream::stdout().lock(), "{text}").context("cannot write to standard output")
}

/// Writes one line for people. A closed standard error is nobody to tell.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
