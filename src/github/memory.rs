//! What the product remembers on a GitHub issue, and a request to cancel: each a comment of its own whose data people
//! do not see.
//!
//! The memory is apart from the comments that report, so that neither write can undo the other.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::comments::{first_line, is_own};
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, CancelRequest, CommentMarker, RepoSlug, TicketMemory};

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
        self.upsert_comment(repository, number, &memory_marker(), &body).await.map(|_| ())
    }

    /// Asks for the runs of the issue to stop, in the place of an earlier request.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn request_cancel(
        &self,
        repository: &RepoSlug,
        number: u64,
        request: &CancelRequest,
    ) -> Result<(), GitHubError> {
        // In a code span nothing is a mention or a link.
        let by = request.by.as_str().replace('`', "'");
        let at = request.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        let words =
            format!("`{by}` asked jira-agent at {at} to stop what was asked for until then on this issue.");
        let body = format!("{}\n{words}", hide(&json!(request)));
        self.upsert_comment(repository, number, &cancel_marker(), &body).await.map(|_| ())
    }
}

fn memory_marker() -> CommentMarker {
    CommentMarker::new("memory", "0")
}

fn cancel_marker() -> CommentMarker {
    CommentMarker::new("cancel", "0")
}

/// The data as an HTML comment. In JSON `<` and `>` stand in texts alone, where they can be escaped.
fn hide(data: &Value) -> String {
    let json = data.to_string().replace('<', "\\u003c").replace('>', "\\u003e");
    format!("{OPEN}{json}{CLOSE}")
}

/// The memory in our comments, and the request to cancel.
pub(super) fn memory(comments: &[wire::Comment], login: &AccountId) -> TicketMemory {
    let memory: Option<TicketMemory> = data(comments, login, &memory_marker());
    TicketMemory { cancel: data(comments, login, &cancel_marker()), ..memory.unwrap_or_default() }
}

/// The data in our oldest comment with the marker. People may have edited it: what cannot be read counts as nothing.
fn data<T: DeserializeOwned>(
    comments: &[wire::Comment],
    login: &AccountId,
    marker: &CommentMarker,
) -> Option<T> {
    let (kind, first_line) = (marker.kind(), first_line(marker));
    let comment = comments.iter().find(|comment| is_own(comment, login, &first_line))?;
    let data = comment.body.lines().find_map(|line| line.trim().strip_prefix(OPEN)?.strip_suffix(CLOSE));
    match data.map(serde_json::from_str) {
        Some(Ok(data)) => Some(data),
        Some(Err(error)) => {
            tracing::warn!(comment.id = comment.id, %error, "the {kind} in our comment cannot be read and is ignored");
            None
        }
        None => {
            tracing::warn!(comment.id = comment.id, "our {kind} comment has no data and is ignored");
            None
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
