//! What a reply is: edit blocks, or one of the two ways out.

use super::clean::{clean_line, clean_untrusted};

/// The most characters of a summary.
const SUMMARY_LIMIT: usize = 72;
/// The most characters of an explanation, a reason or a question.
const TEXT_LIMIT: usize = 4_000;

/// A reply, read as far as it is not edit blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyKind {
    /// It proposes a change; whether it holds blocks that can be applied is for the edit blocks' parser.
    Edits {
        /// One line of at most 72 characters; empty when the model wrote none.
        summary: String,
        /// For the pull request, as Markdown; may be empty.
        explanation: String,
        /// The reply without its thinking and its summary.
        blocks_text: String,
    },
    /// The repository already does what the ticket asks.
    NothingToChange {
        /// Why the model thinks so.
        reason: String,
    },
    /// Only a person can say how to go on.
    NeedsHuman {
        /// What the model asks.
        question: String,
    },
}

/// Reads a reply. Thinking in tags, fences around the whole and words before the form are overlooked.
#[must_use]
pub fn parse_reply(text: &str) -> ReplyKind {
    let text = without_thinking(text);
    let lines: Vec<&str> = text.lines().collect();
    let blocks_at = first_block(&lines).unwrap_or(lines.len());
    if let Some(way_out) = way_out(&lines, blocks_at) {
        return way_out;
    }
    let head = lines.get(..blocks_at).unwrap_or_default();
    let summary = head.iter().enumerate().find_map(|(at, line)| Some((at, tagged(line, "SUMMARY")?)));
    let (rest_at, summary) = match summary {
        Some((at, summary)) => (at + 1, clean_line(unquoted(summary), SUMMARY_LIMIT)),
        None => (0, String::new()),
    };
    let explanation = head.get(rest_at..).unwrap_or_default().join("\n");
    ReplyKind::Edits {
        summary,
        explanation: clean_untrusted(&explanation, TEXT_LIMIT).trim().to_owned(),
        blocks_text: lines.get(rest_at..).unwrap_or_default().join("\n"),
    }
}

/// One of the two ways out. On the first line of the reply it counts whatever follows, on a later one only if no
/// block follows.
pub(super) fn way_out(lines: &[&str], blocks_at: usize) -> Option<ReplyKind> {
    let has_blocks = blocks_at < lines.len();
    let mut first = true;
    for (at, line) in lines.iter().enumerate().take(blocks_at) {
        if is_fence(line) || line.trim().is_empty() {
            continue;
        }
        if has_blocks && !first {
            return None;
        }
        first = false;
        let more = || {
            let rest = lines.get(at + 1..blocks_at).unwrap_or_default();
            let rest: Vec<&str> = rest.iter().copied().filter(|line| !is_fence(line)).collect();
            rest.join("\n")
        };
        let words = |head: &str| {
            let whole = format!("{}\n{}", unquoted(head), more());
            clean_untrusted(&whole, TEXT_LIMIT).trim().to_owned()
        };
        if let Some(head) = tagged(line, "NOTHING_TO_CHANGE") {
            return Some(ReplyKind::NothingToChange { reason: words(head) });
        }
        if let Some(head) = tagged(line, "NEEDS_HUMAN") {
            return Some(ReplyKind::NeedsHuman { question: words(head) });
        }
    }
    None
}

/// What stands behind `WORD:` at the start of a line, whatever Markdown is around the word.
fn tagged<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let decoration = |c: char| "*_`#> ".contains(c);
    let line = line.trim_start_matches(decoration);
    let rest = line.strip_prefix(word)?.trim_start_matches(decoration);
    Some(rest.strip_prefix(':')?.trim_start_matches(['*', '_']).trim())
}

/// Without the Markdown that is around the whole line. One half of it may be gone with the word before.
fn unquoted(line: &str) -> &str {
    let mut line = line.trim();
    for mark in ["**", "`", "\""] {
        let inner = line.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        if let Some(inner) = inner.filter(|inner| !inner.contains(mark)) {
            line = inner.trim();
        } else if line.matches(mark).count() == 1 {
            line = line.strip_suffix(mark).unwrap_or(line).trim_end();
        }
    }
    line
}

/// The line where the first block begins: its marker or `DELETE`, or what belongs to it before: a fence, the path.
fn first_block(lines: &[&str]) -> Option<usize> {
    let marker = lines.iter().position(|line| is_marker(line))?;
    let mut at = marker;
    // At most a fence, a path and another fence, with blank lines between.
    for _ in 0..3 {
        let before = lines.get(..at).unwrap_or_default();
        let Some(previous) = before.iter().rposition(|line| !line.trim().is_empty()) else {
            break;
        };
        let line = lines.get(previous).copied().unwrap_or_default();
        if is_fence(line) || looks_like_path(line) {
            at = previous;
        } else {
            break;
        }
    }
    Some(at)
}

fn is_marker(line: &str) -> bool {
    let line = line.trim();
    let rest = line.trim_start_matches('<');
    line == "DELETE" || (line.len() - rest.len() >= 3 && rest.trim().eq_ignore_ascii_case("SEARCH"))
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// One word with a dot or a slash in it, whatever Markdown is around it.
fn looks_like_path(line: &str) -> bool {
    let bare = line.trim().trim_start_matches(['#', '-', ' ']);
    let bare = bare.trim_end_matches(':').trim_matches(['*', '`', ':', ' ']);
    let one_word = !bare.is_empty() && !bare.contains(char::is_whitespace);
    one_word && !bare.ends_with('.') && (bare.contains(['/', '.']) || line.contains('`'))
}

/// The text without the thinking that some models write before their answer (`<think>…</think>`).
pub(super) fn without_thinking(text: &str) -> &str {
    let trimmed = text.trim_start();
    for (open, close) in [("<think>", "</think>"), ("<thinking>", "</thinking>")] {
        if let Some(thinking) = trimmed.strip_prefix(open) {
            // Without an end there is nothing but thinking.
            return thinking.split_once(close).map_or("", |(_, answer)| answer);
        }
        // The prompt's template may have written the opening tag. A tag within a block is code.
        let end = format!("\n{close}\n");
        let position = text.find(&end).filter(|at| {
            let before = text.get(..*at).unwrap_or_default();
            !before.lines().any(|line| is_marker(line) || tagged(line, "SUMMARY").is_some())
        });
        if let Some(at) = position {
            return text.get(at + end.len()..).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOCK: &str = "<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n";

    fn edits(text: &str) -> (String, String, String) {
        match parse_reply(text) {
            ReplyKind::Edits { summary, explanation, blocks_text } => (summary, explanation, blocks_text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_in_form_is_taken_apart() {
        let text =
            format!("SUMMARY: Mend the cart\n\nIt was broken.\nNow it is not.\n\nsrc/cart.rs\n{BLOCK}");
        let (summary, explanation, blocks) = edits(&text);
        assert_eq!(summary, "Mend the cart");
        assert_eq!(explanation, "It was broken.\nNow it is not.");
        assert!(blocks.contains("src/cart.rs\n<<<<<<< SEARCH"), "{blocks}");
    }

    #[test]
    fn looser_forms_are_understood() {
        for path in [
            "src/a.rs",
            "`src/a.rs`",
            "**src/a.rs**",
            "### `Makefile`",
            "```rust\nsrc/a.rs",
            "src/a.rs\n\n```rust",
        ] {
            let text = format!("Here it is.\n\n**SUMMARY:** \"Mend `it`\"\n\nBecause.\n\n{path}\n{BLOCK}");
            let (summary, explanation, blocks) = edits(&text);
            assert_eq!((summary.as_str(), explanation.as_str()), ("Mend `it`", "Because."), "{path}");
            assert!(blocks.contains(path));
        }
        let (summary, explanation, blocks) = edits("I drop it.\n\nsrc/a.rs\nDELETE\n");
        assert_eq!((summary.as_str(), explanation.as_str()), ("", "I drop it."));
        assert_eq!(blocks, "I drop it.\n\nsrc/a.rs\nDELETE");
    }

    #[test]
    fn a_long_summary_is_cut_and_a_hidden_letter_removed() {
        let (summary, ..) = edits(&format!("SUMMARY: {}\u{202e}\n", "word ".repeat(40)));
        assert!(summary.chars().count() <= 72 && summary.ends_with("[…]"), "{summary}");
    }

    #[test]
    fn thinking_is_no_part_of_the_answer() {
        let answer = format!("SUMMARY: Mend it\n\nsrc/a.rs\n{BLOCK}");
        let wrong = "NEEDS_HUMAN: no\nsrc/b.rs\n";
        for text in [
            format!("<think>\n{wrong}</think>\n{answer}"),
            format!("\n <thinking>{wrong}</thinking>\n\n{answer}"),
            format!("{wrong}\n</think>\n{answer}"),
        ] {
            let (summary, explanation, blocks) = edits(&text);
            assert_eq!((summary.as_str(), explanation.as_str()), ("Mend it", ""), "{text}");
            assert!(!blocks.contains("src/b.rs"));
        }
        assert_eq!(edits("<think> never ends").2, "");
        let code = format!(
            "SUMMARY: x\n\na.html\n<<<<<<< SEARCH\n</think>\n=======\n</think>\n>>>>>>> REPLACE\n{BLOCK}"
        );
        assert_eq!(edits(&code).2.matches("</think>").count(), 2);
    }

    #[test]
    fn the_ways_out_are_recognised() {
        let nothing = ReplyKind::NothingToChange { reason: "`total` already multiplies".to_owned() };
        for text in [
            "NOTHING_TO_CHANGE: `total` already multiplies",
            "I looked at it.\n\n**NOTHING_TO_CHANGE**: `total` already multiplies\n",
            "```\nNOTHING_TO_CHANGE: `total` already multiplies\n```",
            "**NOTHING_TO_CHANGE: `total` already multiplies**",
        ] {
            assert_eq!(parse_reply(text), nothing, "{text}");
        }
        let question = "Which of the two?\n\n1. this\n2. that".to_owned();
        let text = format!("# NEEDS_HUMAN: Which of the two?\n\n1. this\n2. that\n\nsrc/a.rs\n{BLOCK}");
        assert_eq!(parse_reply(&text), ReplyKind::NeedsHuman { question });
    }

    #[test]
    fn a_way_out_that_is_only_mentioned_is_none() {
        let text = format!("SUMMARY: x\nNEEDS_HUMAN: was not needed.\n\nsrc/a.rs\n{BLOCK}");
        assert_eq!(edits(&text).0, "x");
        edits("I could say NEEDS_HUMAN: what?");
        edits("SUMMARY: x\n\na.rs\n<<<<<<< SEARCH\nNEEDS_HUMAN: x\n=======\n>>>>>>> REPLACE\n");
    }

    #[test]
    fn a_reply_of_nothing_is_an_edit_of_nothing() {
        assert_eq!(edits(""), (String::new(), String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(
            pieces in prop::collection::vec(prop_oneof![
                any::<String>(),
                prop::sample::select(vec![
                    "\n", "<think>", "\n</think>\n", "SUMMARY:", "NEEDS_HUMAN:", "NOTHING_TO_CHANGE: ", "```", "DELETE",
                    "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "src/a.rs", "**", "`", " ", "ä",
                ]).prop_map(str::to_owned),
            ], 0..30)
        ) {
            if let ReplyKind::Edits { summary, .. } = parse_reply(&pieces.concat()) {
                prop_assert!(summary.chars().count() <= SUMMARY_LIMIT && !summary.contains('\n'));
            }
        }
    }
}
