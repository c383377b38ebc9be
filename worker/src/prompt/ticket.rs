//! A ticket as the model sees it: cleaned, bounded, between marks.

use std::fmt::Write as _;

use jira_agent::domain::{Comment, Ticket};

use super::clean::{clean_line, clean_untrusted};
use super::fence::Fence;

/// The most characters of a description.
const DESCRIPTION_LIMIT: usize = 20_000;
/// The most comments; the newest are kept.
const COMMENTS: usize = 20;
/// The most characters of one comment.
const COMMENT_LIMIT: usize = 4_000;
/// The most characters of all comments together.
const COMMENTS_LIMIT: usize = 30_000;

/// The cleaned texts of a ticket.
pub(super) struct CleanTicket {
    facts: String,
    comments: Vec<CleanComment>,
    left_out: usize,
}

struct CleanComment {
    author: String,
    at: String,
    body: String,
}

impl CleanTicket {
    pub fn new(ticket: &Ticket) -> Self {
        let mut comments: Vec<CleanComment> = Vec::new();
        let mut room = COMMENTS_LIMIT;
        for comment in ticket.comments.iter().rev().take(COMMENTS) {
            let comment = CleanComment::new(comment);
            let length = comment.body.chars().count();
            if length > room {
                break;
            }
            room -= length;
            comments.push(comment);
        }
        comments.reverse();
        Self { facts: facts(ticket), left_out: ticket.comments.len() - comments.len(), comments }
    }

    /// All texts, to choose a fence around them.
    pub fn texts(&self) -> Vec<&str> {
        let bodies = self.comments.iter().map(|comment| comment.body.as_str());
        std::iter::once(self.facts.as_str()).chain(bodies).collect()
    }

    /// The ticket, then its comments, the newest last.
    pub fn render(&self, fence: Fence) -> String {
        let mut text = fence.wrap("ticket", &[], &self.facts);
        if self.left_out > 0 {
            let _ = writeln!(text, "({} older comments are left out.)", self.left_out);
        }
        for comment in &self.comments {
            let attributes = [("by", comment.author.as_str()), ("at", comment.at.as_str())];
            text.push_str(&fence.wrap("comment", &attributes, &comment.body));
        }
        text
    }
}

impl CleanComment {
    fn new(comment: &Comment) -> Self {
        Self {
            author: clean_line(&comment.author_name, 80),
            at: comment.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            body: clean_untrusted(&comment.body, COMMENT_LIMIT),
        }
    }
}

fn facts(ticket: &Ticket) -> String {
    let list = |names: &[String]| {
        let names: Vec<String> = names.iter().take(20).map(|name| clean_line(name, 80)).collect();
        names.join(", ")
    };
    let mut text = String::new();
    for (name, value) in [
        ("Key", ticket.key.to_string()),
        ("Type", clean_line(&ticket.kind, 80)),
        ("Title", clean_line(&ticket.summary, 500)),
        ("Labels", list(&ticket.labels)),
        ("Components", list(&ticket.components)),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    let description = clean_untrusted(&ticket.description, DESCRIPTION_LIMIT);
    if description.is_empty() {
        text.push_str("\n(There is no description.)");
    } else {
        let _ = write!(text, "\n{description}");
    }
    text
}
