//! What a replacement must not leave behind: conflict markers, fences of the reply, and comments in place of code.

use std::sync::LazyLock;

use regex::Regex;

use super::lines::{Line, is_blank};
use crate::marks::{is_conflict_marker, is_fence, is_prose};

/// What an edit would leave in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardProblem {
    /// A marker of a merge conflict or of an edit block.
    #[error("it would leave the marker `{0}` in the file; markers may not be part of the text")]
    ConflictMarker(String),
    /// A fence.
    #[error("it would leave a fence ({0}) in the file; put fences around the whole block or leave them out")]
    Fence(String),
    /// A comment that stands for code.
    #[error(
        "it has `{0}` in place of code; write the code out in full, or make the block smaller so that it does not \
         cover lines that stay"
    )]
    Elision(String),
    /// A NUL.
    #[error("it would put a NUL character into the file")]
    Nul,
}

/// Compares a file before and after one edit.
pub(super) fn check(
    path: &str,
    before: &[Line],
    after: &[Line],
    written: &[String],
) -> Result<(), GuardProblem> {
    if written.iter().any(|line| line.contains('\0')) {
        return Err(GuardProblem::Nul);
    }
    if let Some(marker) = grown(before, after, is_conflict_marker) {
        return Err(GuardProblem::ConflictMarker(marker));
    }
    if is_prose(path) {
        return Ok(());
    }
    if let Some(fence) = left_over_fence(before, after, written) {
        return Err(GuardProblem::Fence(fence));
    }
    let was_there = |line: &str| before.iter().any(|old| old.text.trim() == line.trim());
    match written.iter().find(|line| is_elision(line) && !was_there(line)) {
        Some(line) => Err(GuardProblem::Elision(line.trim().chars().take(100).collect())),
        None => Ok(()),
    }
}

/// The first of the lines that there are more of than before.
fn grown(before: &[Line], after: &[Line], is: fn(&str) -> bool) -> Option<String> {
    let count = |lines: &[Line]| lines.iter().filter(|line| is(&line.text)).count();
    if count(after) <= count(before) {
        return None;
    }
    let is_new = |line: &&Line| is(&line.text) && !before.iter().any(|old| old.text == line.text);
    let found = after.iter().find(is_new).or_else(|| after.iter().find(|line| is(&line.text)))?;
    Some(found.text.clone())
}

fn left_over_fence(before: &[Line], after: &[Line], written: &[String]) -> Option<String> {
    let is_odd = |lines: &[Line]| lines.iter().filter(|line| is_fence(&line.text)).count() % 2 == 1;
    let fences = |lines: &[Line]| lines.iter().filter(|line| is_fence(&line.text)).count();
    let seen: Vec<&String> = written.iter().filter(|line| !is_blank(line)).collect();
    let (first, last) = (seen.first()?, seen.last()?);
    let wraps = is_fence(first) && is_fence(last) && fences(after) > fences(before);
    let at_edge = |line: Option<&Line>| line.is_some_and(|line| is_fence(&line.text));
    let edge = |lines: &[Line]| {
        at_edge(lines.iter().find(|line| !is_blank(&line.text)))
            || at_edge(lines.iter().rfind(|line| !is_blank(&line.text)))
    };
    let is_left = wraps || (is_odd(after) && !is_odd(before)) || (edge(after) && !edge(before));
    is_left.then(|| written.iter().find(|line| is_fence(line)).map(|line| line.trim().to_owned()))?
}

/// Words of a comment that stands for code, and those that only do so after dots.
const STRONG: &str =
    "rest|existing|remaining|unchanged|omitted|previous|snip|truncated|as before|same as|your code";
const WEAK: &str = "same|other|others|here|more";

/// Whether a line is a comment that stands for code that was left out.
fn is_elision(line: &str) -> bool {
    static COMMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"^\s*(?://+|#+|--+|;+|%+|\{?/\*+|\*|<!--+|\(\*|"{3}|'{3})\s*(.*?)\s*(?:\*+/\}?|--+>|\*\)|"{3}|'{3})?\s*$"#).ok()
    });
    static PHRASE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let thing = "(?:code|file|function|method|class|implementation|body|module|component|imports?|logic|methods|\
                     functions|tests|content|fields|handlers|routes|cases|lines)";
        let stays = "(?: (?:is|are|stays?|remains?|goes|continues?|here|the|same|unchanged|as|before|omitted|above))*";
        let forms = [
            format!(r"(?:the )?(?:rest|remainder) (?:of )?(?:the |your |this )?(?:\w+ )?{thing}?{stays}"),
            format!(
                r"(?:the |your |other |all )*(?:existing|remaining|unchanged|previous|original) (?:\w+ )?{thing}{stays}"
            ),
            format!(
                r"(?:other |more |your )?{thing} (?:is |are |stays? |remains? )*(?:unchanged|omitted|the same|as before|here)"
            ),
            "(?:same|as) as (?:before|above|the original)|unchanged".to_owned(),
        ];
        Regex::new(&format!("(?i)^(?:{})$", forms.join("|"))).ok()
    });
    static WORD: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(&format!(r"(?i)\b(?:{STRONG}|{WEAK})\b")).ok());
    static STRONG_WORD: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(&format!(r"(?i)\b(?:{STRONG})\b")).ok());
    let Some(text) = COMMENT.as_ref().and_then(|comment| comment.captures(line)?.get(1)) else {
        return false;
    };
    let text = text.as_str();
    let bare = text.trim_matches(|character: char| {
        ['.', '…', ' ', '(', ')', '[', ']', ':', ',', '-'].contains(&character)
    });
    let inner = text.trim_matches(['(', ')', '[', ']', ' ']);
    let begins = ["...", "…"].iter().any(|dots| inner.starts_with(dots));
    let ends = ["...", "…"].iter().any(|dots| inner.ends_with(dots));
    let matches = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(bare));
    let is_short = bare.split_whitespace().count() <= 10;
    let with_dots = (begins && (bare.is_empty() || matches(&WORD))) || (ends && matches(&STRONG_WORD));
    (with_dots && is_short) || matches(&PHRASE)
}

#[cfg(test)]
mod tests {
    use super::super::lines::TextFile;
    use super::*;

    fn guard(path: &str, before: &str, after: &str) -> Result<(), GuardProblem> {
        let lines = |text: &str| TextFile::parse(text.as_bytes()).unwrap().lines;
        let written: Vec<String> = after.lines().map(str::to_owned).collect();
        check(path, &lines(before), &lines(after), &written)
    }

    #[test]
    fn comments_in_place_of_code_are_known() {
        for line in [
            "// ... rest of the code unchanged ...",
            "    # ... existing code ...",
            "/* ... rest of the file ... */",
            "// ...",
            "# …",
            "<!-- ... rest of the page remains the same -->",
            "// rest of the function remains the same",
            "{/* existing code */}",
            "// (rest of the implementation)",
            "# remaining methods unchanged",
            "// existing imports",
            "// ... (other handlers) ...",
            "-- ... rest unchanged",
            "    # The rest of the code stays the same",
            "// ... your code here ...",
            "// implementation remains unchanged",
            "// unchanged",
        ] {
            assert!(is_elision(line), "{line}");
        }
    }

    #[test]
    fn ordinary_comments_and_code_are_not_taken_for_elisions() {
        for line in [
            "...",
            "    ...  # pragma: no cover",
            "let rest = existing_code();",
            "// Loading…",
            "# Wait for the rest of the workers before we go on",
            "// The remaining budget is what the caller gave minus what was used.",
            "// keeps the existing order of equal elements",
            "# see https://example.com/...",
            "// matches a, b, c, ...",
            "print(\"...\")",
            "// Rest parameters are not allowed in setters",
            "* The previous implementation leaked.",
            "# other",
            "// Loading more...",
            "# wait for the other workers ...",
            "#include <rest.h>",
            "foo(...args) // spread",
        ] {
            assert!(!is_elision(line), "{line}");
        }
    }

    #[test]
    fn an_elision_that_was_there_before_is_not_ours() {
        assert_eq!(guard("a.py", "# ...\nx\n", "# ...\ny\n"), Ok(()));
        assert!(matches!(guard("a.py", "x\n", "# ...\ny\n"), Err(GuardProblem::Elision(_))));
        assert_eq!(guard("a.md", "x\n", "# ...\ny\n"), Ok(()));
    }

    #[test]
    fn left_over_fences_are_known() {
        for (before, after) in [
            ("a\n", "```python\nb\n```\n"),
            ("a\n", "b\n```\n"),
            ("", "```\nb\n"),
            ("a\nb\n", "```\na\n```\nb\n"),
        ] {
            assert!(matches!(guard("a.py", before, after), Err(GuardProblem::Fence(_))), "{after}");
        }
        assert_eq!(guard("a.py", "'''\n'''\n", "'''\n```\nx\n```\n'''\n"), Ok(()));
        assert_eq!(guard("a.md", "a\n", "```\nb\n```\n"), Ok(()));
    }

    #[test]
    fn conflict_markers_are_known_and_headings_are_not() {
        assert!(matches!(guard("a.md", "a\n", "<<<<<<< HEAD\nb\n"), Err(GuardProblem::ConflictMarker(_))));
        assert!(matches!(guard("a.rs", "a\n", "a\n>>>>>>>\n"), Err(GuardProblem::ConflictMarker(_))));
        assert_eq!(guard("a.rst", "a\n", "Title\n=======\n"), Ok(()));
        assert_eq!(guard("a.rs", "<<<<<<< x\n", "<<<<<<< x\nb\n"), Ok(()));
        assert_eq!(check("a.rs", &[], &[], &["a\0".to_owned()]), Err(GuardProblem::Nul));
    }
}
