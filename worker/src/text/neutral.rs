//! Model-written text loses its power over services: no mentions, no closing keywords, no smart commits, no
//! images, no hidden comments.

use std::sync::LazyLock;

use regex::Regex;

/// A pattern that is a constant of this file.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static CLOSING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // GitHub: "Linking a pull request to an issue using a keyword".
    pattern(
        r"(?i)\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(:?\s+)((?:[\w.-]+/[\w.-]+)?#\d|GH-\d|https?://\S+/issues/\d)",
    )
});
static ISSUE_NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(?i)\b(GH)-(\d)"));
static MENTION: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"(^|[^\w`@./])@([A-Za-z0-9][A-Za-z0-9-]*(?:/[A-Za-z0-9_.-]+)?)"));
// Atlassian: "Process issues with smart commits": `KEY #comment …`, `#time …`, `#<transition> …`.
static SMART: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"#([A-Za-z])"));
static IMAGE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])?"));
static HTML: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(?s)<!--.*?(?:-->|$)|</?[A-Za-z][^>]*>"));

fn replace(text: String, pattern: &LazyLock<Option<Regex>>, with: &str) -> String {
    match pattern.as_ref() {
        Some(pattern) if pattern.is_match(&text) => pattern.replace_all(&text, with).into_owned(),
        _ => text,
    }
}

/// Text of several lines for a commit message, a pull request or a comment.
#[must_use]
pub fn neutral_text(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !is_hidden(*c)).collect();
    let text = replace(visible, &HTML, "");
    let text = replace(text, &IMAGE, "[image: $1]");
    let text = replace(text, &CLOSING, "$1${2}issue $3");
    let text = replace(text, &MENTION, "$1`@$2`");
    let text = replace(text, &SMART, "$1");
    // A trailer of ours can only be written by us.
    text.lines().map(str::trim_end).map(guard_trailer).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// JSON with the same meaning whose text does nothing to a service: in the escapes of its strings nobody sees a
/// mention, a smart commit, or an issue to close. Nothing is taken out, since a plan may well speak of `#include`.
#[must_use]
pub fn neutral_json(json: &str) -> String {
    // These stand in strings only, and never behind a backslash of their own.
    let json = json.replace('#', r"\u0023").replace('@', r"\u0040").replace("/issues/", r"\u002fissues/");
    replace(json, &ISSUE_NUMBER, r"${1}\u002d$2")
}

/// One line of at most `limit` characters.
#[must_use]
pub fn neutral_line(text: &str, limit: usize) -> String {
    let line = neutral_text(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if line.chars().count() <= limit {
        return line;
    }
    let kept: String = line.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

fn guard_trailer(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let ours = ["jira-agent-", "signed-off-by:", "co-authored-by:", "approved-by:", "reviewed-by:"];
    if ours.iter().any(|trailer| lower.trim_start().starts_with(trailer)) {
        return format!("| {}", line.trim_start());
    }
    line.to_owned()
}

/// Characters that people do not see: controls, zero width, direction marks, tags.
fn is_hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_pattern_compiles() {
        for pattern in [&CLOSING, &ISSUE_NUMBER, &MENTION, &SMART, &IMAGE, &HTML] {
            assert!(pattern.is_some());
        }
    }

    #[test]
    fn what_could_act_on_a_service_is_taken_out() {
        for (given, neutral) in [
            ("Fixes #12 and closes acme/shop#3", "Fixes issue #12 and closes issue acme/shop#3"),
            ("resolves: https://github.com/a/b/issues/4", "resolves: issue https://github.com/a/b/issues/4"),
            ("thanks @octocat and @acme/team", "thanks `@octocat` and `@acme/team`"),
            ("mail a@b.example stays", "mail a@b.example stays"),
            ("PROJ-1 #done #time 2h", "PROJ-1 done time 2h"),
            ("see ![x](http://evil/?q=1) now", "see [image: x] now"),
            ("a<!-- jira-agent:report:1 -->b<img src=x>", "ab"),
            ("Jira-Agent-Run: 1", "| Jira-Agent-Run: 1"),
            ("a\u{202e}b\u{200b}c", "abc"),
        ] {
            assert_eq!(neutral_text(given), neutral);
        }
    }

    #[test]
    fn json_acts_on_nothing_and_reads_back_the_same() {
        let value = serde_json::json!({
            "path": "node_modules/@types/#x.ts", "why": "PROJ-2 #done, fixes GH-1 and gh-2, closes https://g.example/a/b/issues/4 \\#",
        });
        let json = neutral_json(&value.to_string());
        assert!(["#", "@", "GH-", "gh-", "/issues/"].iter().all(|power| !json.contains(power)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(neutral_line(" a\n b ", 72), "a b");
        assert_eq!(neutral_line(&"x".repeat(80), 10), "xxxxxxxxx…");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_mention_or_a_marker(text in "[ -~\n@#<!>-]{0,80}") {
            let neutral = neutral_text(&text);
            prop_assert!(!neutral.contains("<!-- jira-agent"), "{}", neutral);
            prop_assert!(!neutral.lines().any(|line| line.starts_with("Jira-Agent-")), "{}", neutral);
        }
    }
}
