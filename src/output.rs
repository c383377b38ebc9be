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

/// A word as a shell reads it, for commands that people copy.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(shell_word("/var/lib/queue.db"), "/var/lib/queue.db");
        assert_eq!(shell_word("/home/ann o'neill/q.db"), r"'/home/ann o'\''neill/q.db'");
        assert_eq!(shell_word(""), "''");
    }
}
