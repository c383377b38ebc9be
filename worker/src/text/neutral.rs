//! Model-written text loses its power over services: no mentions, no closing keywords, no smart commits, no
//! images, no hidden comments, no trailers of ours. What it says stays readable.
//!
//! Each rule looks at characters only, never at where code spans begin or end, so that nothing can hide behind a
//! quote that is never closed; and each one inserts or drops single characters in such a way that a second pass finds
//! nothing that the first has made.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::prompt::is_hidden;

/// A pattern that is a constant of this file; a test compiles them all.
type Pattern = LazyLock<Option<Regex>>;

// GitHub: "Linking a pull request to an issue using a keyword".
static CLOSING: Pattern = LazyLock::new(|| {
    Regex::new(
        r"(?i)\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)([^A-Za-z0-9\n]{1,6})((?:[\w.-]+/[\w.-]+)?#\d|GH-\d|https?://\S+/(?:issues|pull)/\d)",
    )
    .ok()
});
// A mention begins with an @ that is not inside a word, as the one in an address is.
static MENTION: Pattern = LazyLock::new(|| Regex::new(r"(^|[^A-Za-z0-9_])@+([A-Za-z0-9])").ok());
// Atlassian: "Process issues with smart commits": `KEY #comment …`, `KEY #time …`, `KEY #<transition> …`.
static COMMAND: Pattern = LazyLock::new(|| Regex::new(r"#+([A-Za-z])").ok());
static KEY: Pattern = LazyLock::new(|| Regex::new(r"\b[A-Z][A-Z0-9_]+-[0-9]+\b").ok());
// An image is loaded by itself, and so tells its host who reads; what is left of an odd one is a link.
static IMAGE: Pattern = LazyLock::new(|| Regex::new(r"!\[([^\[\]]*)\](?:\([^()\n]*\)|\[[^\[\]\n]*\])").ok());
static BANG: Pattern = LazyLock::new(|| Regex::new(r"!+\[").ok());
// What a page loads by itself, and comments, which nobody sees.
static ACTIVE: Pattern = LazyLock::new(|| {
    Regex::new(
        r"(?i)<(!--|/?(?:img|picture|source|video|audio|svg|iframe|object|embed|link|style|script|meta|base)\b)",
    )
    .ok()
});

fn replace(text: String, pattern: &Pattern, with: &str) -> String {
    match pattern.as_ref().map(|pattern| pattern.replace_all(&text, with)) {
        Some(Cow::Owned(replaced)) => replaced,
        _ => text,
    }
}

/// Text of several lines for a commit message, a pull request or a comment.
#[must_use]
pub fn neutral_text(text: &str) -> String {
    let visible = text.chars().filter(|letter| *letter == '\n' || *letter == '\t' || !is_hidden(*letter));
    let text = replace(visible.collect(), &ACTIVE, "< $1");
    let text = replace(text, &IMAGE, "(image: $1)");
    let text = replace(text, &BANG, "[");
    let text = replace(text, &CLOSING, "$1${2}issue $3");
    let text = replace(text, &MENTION, "$1\u{ff20}$2");
    text.lines().map(str::trim_end).map(inert_line).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// One line of at most `limit` characters, which may stand behind a ticket's key.
#[must_use]
pub fn neutral_line(text: &str, limit: usize) -> String {
    let line = neutral_text(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = replace(line, &COMMAND, "$1");
    if line.chars().count() <= limit {
        return line;
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Takes the commands out of a line that names a ticket, and the look of a trailer from one that has it: a trailer of
/// ours can only be written by us.
fn inert_line(line: &str) -> String {
    let names_ticket = KEY.as_ref().is_some_and(|key| key.is_match(line));
    let line = if names_ticket { replace(line.to_owned(), &COMMAND, "$1") } else { line.to_owned() };
    let lower = line.trim_start().to_ascii_lowercase();
    let ours = ["jira-agent-", "signed-off-by:", "co-authored-by:", "approved-by:", "reviewed-by:"];
    if ours.iter().any(|trailer| lower.starts_with(trailer)) {
        return format!("| {}", line.trim_start());
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in [&CLOSING, &MENTION, &COMMAND, &KEY, &IMAGE, &BANG, &ACTIVE] {
            assert!(pattern.is_some());
        }
    }

    #[test]
    fn what_could_act_on_a_service_is_taken_out() {
        for (given, neutral) in [
            ("Fixes #12 and closes acme/shop#3", "Fixes issue #12 and closes issue acme/shop#3"),
            ("fixes **#12**, fixed: GH-3", "fixes **issue #12**, fixed: issue GH-3"),
            ("resolves: https://github.com/a/b/issues/4", "resolves: issue https://github.com/a/b/issues/4"),
            ("thanks @octocat and `@acme/team", "thanks ＠octocat and `＠acme/team"),
            (".@octocat /@octocat @@octocat", ".＠octocat /＠octocat ＠octocat"),
            ("mail a@b.example stays", "mail a@b.example stays"),
            ("PROJ-1 #done ##time 2h", "PROJ-1 done time 2h"),
            ("see ![x](http://evil/?q=1) !![y][z] ![a", "see (image: x) !(image: y) [a"),
            ("a<!-- jira-agent:report:1 -->b<img src=x>", "a< !-- jira-agent:report:1 -->b< img src=x>"),
            ("<!-<a>- jira-agent:report:1 -->", "<!-<a>- jira-agent:report:1 -->"),
            ("<<a>img src=http://evil>", "<<a>img src=http://evil>"),
            ("Jira-Agent-Run: 1", "| Jira-Agent-Run: 1"),
            ("a\u{202e}b\u{200b}c\u{ad}", "abc"),
        ] {
            assert_eq!(neutral_text(given), neutral);
        }
    }

    #[test]
    fn what_is_only_code_stays_as_it_is() {
        for text in
            ["returns `Option<Foo>` not Vec<String>", "if a <b then x -> y", "`#include <map>`", "it's #1!"]
        {
            assert_eq!(neutral_text(text), text);
        }
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length_without_commands() {
        assert_eq!(neutral_line(" a\n #done b ", 72), "a done b");
        assert_eq!(neutral_line(&"x".repeat(80), 10), "xxxxxxxxx…");
    }

    proptest! {
        #[test]
        fn a_second_pass_changes_nothing(text in "[a-z!\\[\\]<>/@#` \\n-]{0,60}|[ -~\\n]{0,80}") {
            let once = neutral_text(&text);
            prop_assert_eq!(neutral_text(&once), once);
        }

        #[test]
        fn nothing_keeps_a_marker_an_image_or_a_mention(text in "[a-z!\\[\\]<>/@#` \\n-]{0,60}") {
            let neutral = neutral_text(&text);
            prop_assert!(!neutral.contains("<!--") && !neutral.contains("!["), "{}", neutral);
            let bytes = neutral.as_bytes();
            let mention = bytes.windows(2).enumerate().any(|(at, pair)| {
                pair[0] == b'@'
                    && pair[1].is_ascii_alphanumeric()
                    && (at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_'))
            });
            prop_assert!(!mention, "{}", neutral);
        }
    }
}
