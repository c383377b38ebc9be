//! The Atlassian Document Format: checking what is written, reading it, writing what scenarios say in Markdown.
//!
//! <https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>

mod markdown;
mod rules;
mod text;
mod validate;

pub use self::markdown::from_markdown;
pub use self::text::{text_length, to_markdown};
pub use self::validate::validate;

use serde_json::Value;

/// The document of a Markdown text; `null` for an empty one, as Jira shows an empty description.
#[must_use]
pub fn from_markdown_or_null(markdown: &str) -> Value {
    if markdown.trim().is_empty() { Value::Null } else { from_markdown(markdown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_a_valid_document_and_reads_the_same_again() {
        let markdown = "# Broken total\n\nThe *cart* is **wrong** in `total()`, see [the log](https://example.com/log).\n\n\
            ```rust\nlet total = price;\n```\n\n- one\n- two\n\n1. first\n2. second\n\n> quoted\n\n---";
        let document = from_markdown(markdown);
        validate(&document).unwrap();
        assert_eq!(to_markdown(&document), markdown);
    }

    #[test]
    fn an_unclosed_text_or_nothing_is_still_a_valid_document() {
        for markdown in ["", " \n", "<b>html</b>", "a\nb", "- \n- x", "> ", "```\n```", "| a |\n|---|\n| b |"]
        {
            let document = from_markdown(markdown);
            validate(&document).unwrap_or_else(|problem| panic!("{markdown:?}: {problem} in {document}"));
        }
    }
}
