//! What the product remembers on a GitHub issue: a comment of its own whose data people do not see.
//!
//! It is apart from the comments that report, so that neither write can undo the other.

use serde_json::Value;

use super::comments::{first_line, is_own};
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, CommentMarker, RepoSlug, TicketMemory};

/// The longest data that are written, in characters, as in a Jira property.
const LIMIT: usize = 32_768;

const OPEN: &str = "<!-- jira-agent:data ";
const CLOSE: &str = " -->";

const WORDS: &str =
    "jira-agent keeps here, out of sight, what it did for this issue. Deleting this comment makes it forget.";

impl GitHub {
    /// What earlier runs left on the issue. What cannot be read counts as nothing, with a warning.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn memory(&self, repository: &RepoSlug, number: u64) -> Result<TicketMemory, GitHubError> {
        let comments = self.comments(repository, number).await?;
        Ok(memory(&comments, &self.user().await?))
    }

    /// Replaces what is remembered on the issue. There is no compare-and-set: read, change and write quickly.
    ///
    /// # Errors
    /// See [`GitHubError`]; [`GitHubError::Invalid`] when it is longer than 32,768 characters.
    pub async fn write_memory(
        &self,
        repository: &RepoSlug,
        number: u64,
        memory: &TicketMemory,
    ) -> Result<(), GitHubError> {
        let invalid = |message: String| GitHubError::Invalid {
            what: format!("the memory of #{number} of {repository}"),
            message,
            fields: Vec::new(),
        };
        let data = serde_json::to_value(memory).map_err(|error| invalid(error.to_string()))?;
        let hidden = hide(&data);
        let length = hidden.chars().count();
        if length > LIMIT {
            return Err(invalid(format!("it has {length} characters of at most {LIMIT}")));
        }
        let body = format!("{hidden}\n{WORDS}");
        self.upsert_comment(repository, number, &marker(), &body).await.map(|_| ())
    }
}

fn marker() -> CommentMarker {
    CommentMarker::new("memory", "0")
}

/// The data as an HTML comment. In JSON `<` and `>` stand in texts alone, where they can be escaped.
fn hide(data: &Value) -> String {
    let json = data.to_string().replace('<', "\\u003c").replace('>', "\\u003e");
    format!("{OPEN}{json}{CLOSE}")
}

/// The memory in our oldest comment that has one. People may have edited it.
pub(super) fn memory(comments: &[wire::Comment], login: &AccountId) -> TicketMemory {
    let first_line = first_line(&marker());
    let own = comments.iter().find(|comment| is_own(comment, login, &first_line));
    let Some(comment) = own else {
        return TicketMemory::default();
    };
    let data = comment.body.lines().find_map(|line| line.trim().strip_prefix(OPEN)?.strip_suffix(CLOSE));
    match data.map(serde_json::from_str) {
        Some(Ok(memory)) => memory,
        Some(Err(error)) => {
            tracing::warn!(comment.id = comment.id, %error, "the memory in our comment cannot be read and is ignored");
            TicketMemory::default()
        }
        None => {
            tracing::warn!(comment.id = comment.id, "our memory comment has no data and is ignored");
            TicketMemory::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_in_the_data_can_end_the_comment() {
        let mut memory = TicketMemory::default();
        memory.other.insert("x".to_owned(), "a --> b --!> <!-- c".into());
        let hidden = hide(&serde_json::to_value(&memory).unwrap());
        assert_eq!((hidden.matches('>').count(), hidden.matches('<').count()), (1, 1), "{hidden}");
        let json = hidden.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)).unwrap();
        assert_eq!(serde_json::from_str::<TicketMemory>(json).unwrap(), memory);
    }
}
