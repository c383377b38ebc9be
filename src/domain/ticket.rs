//! A ticket as a run reads it, whichever service holds it, and what the product remembers on it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, CommentMarker, EventKind, TaskId, TicketKey};

/// A Jira or GitHub issue, read afresh at the start of every attempt. All texts are Markdown.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its key.
    pub key: TicketKey,
    /// Where people see it.
    pub url: String,
    /// The title.
    pub summary: String,
    /// The description; empty when there is none.
    pub description: String,
    /// The status' name (Jira) or `open`/`closed` (GitHub).
    pub status: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its components; empty on GitHub.
    pub components: Vec<String>,
    /// Who it is assigned to.
    pub assignees: Vec<AccountId>,
    /// Who reported it.
    pub reporter: Option<AccountId>,
    /// The type's name, e.g. `Bug`; empty where there is none.
    pub kind: String,
    /// People's comments, oldest first. Comments that the product wrote are left out.
    pub comments: Vec<Comment>,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The markers of the comments that the product wrote.
    pub own_comments: Vec<CommentMarker>,
    /// What earlier runs left on it.
    pub memory: TicketMemory,
}

impl Ticket {
    /// The time of the newest input a run of this ticket can see: the last comment, or its creation.
    #[must_use]
    pub fn newest_input(&self) -> Timestamp {
        self.comments.iter().map(|comment| comment.updated_at).fold(Timestamp::MIN, Ord::max)
    }
}

/// One comment of a person.
#[derive(Debug, Clone)]
pub struct Comment {
    /// The service's id.
    pub id: String,
    /// Who wrote it; `None` for an account that is gone.
    pub author: Option<AccountId>,
    /// The name people see.
    pub author_name: String,
    /// The text as Markdown.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

/// What the product remembers on the ticket itself, so that workers need no store: the Jira issue property
/// `jira-agent`, or the hidden part of our comment on GitHub.
///
/// Unknown fields of a newer version are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TicketMemory {
    /// The newest runs and how they ended, oldest first; at most [`TicketMemory::KEPT_RUNS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunMark>,
    /// The time of the newest input a finished run has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// A request to cancel what is queued or running. It has a place of its own on the ticket, because this memory is
    /// replaced as a whole: reading fills it in, writing leaves it alone.
    #[serde(skip)]
    pub cancel: Option<CancelRequest>,
    /// What this version does not know.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl TicketMemory {
    /// How many finished runs are remembered.
    pub const KEPT_RUNS: usize = 20;

    /// How the run ended, when it did.
    #[must_use]
    pub fn end_of(&self, run: TaskId) -> Option<&RunMark> {
        self.runs.iter().find(|mark| mark.run == run)
    }

    /// Marks the run as ended and raises the watermark. Marking twice changes nothing.
    pub fn mark_end(&mut self, mark: RunMark, seen: Timestamp) {
        if self.end_of(mark.run).is_none() {
            self.runs.push(mark);
            let surplus = self.runs.len().saturating_sub(Self::KEPT_RUNS);
            self.runs.drain(..surplus);
        }
        self.watermark = Some(self.watermark.map_or(seen, |old| old.max(seen)));
    }
}

/// The terminal marker: this run has ended; a task with its id is acked unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMark {
    /// The run.
    pub run: TaskId,
    /// The outcome's or the failure's word, e.g. `pull_request_opened`.
    pub end: String,
    /// When it ended.
    pub at: Timestamp,
}

impl RunMark {
    /// The event that ended the run.
    #[must_use]
    pub fn event(&self) -> EventKind {
        [EventKind::NeedsHuman, EventKind::Superseded, EventKind::Cancelled, EventKind::Failed]
            .into_iter()
            .find(|kind| kind.as_str() == self.end)
            .unwrap_or(EventKind::Succeeded)
    }
}

/// Somebody asked for runs of this ticket to stop: the Jira issue property `jira-agent-cancel`, or the hidden part of our
/// comment of kind `cancel` on GitHub. The newest request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Who.
    pub by: AccountId,
    /// When. Tasks requested later are not meant.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(run: TaskId) -> RunMark {
        RunMark { run, end: "pull_request_opened".to_owned(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn memory_keeps_the_newest_runs_and_what_it_does_not_know() {
        let mut memory: TicketMemory = serde_json::from_str(r#"{"future":{"a":1}}"#).unwrap();
        let runs: Vec<TaskId> = (0..30).map(|_| TaskId::generate()).collect();
        for run in &runs {
            memory.mark_end(mark(*run), Timestamp::UNIX_EPOCH);
            memory.mark_end(mark(*run), Timestamp::UNIX_EPOCH);
        }
        assert_eq!(memory.runs.len(), TicketMemory::KEPT_RUNS);
        assert!(memory.end_of(runs[29]).is_some() && memory.end_of(runs[9]).is_none());
        assert!(serde_json::to_string(&memory).unwrap().contains("future"));
    }

    #[test]
    fn a_cancel_request_is_never_written_with_the_memory() {
        let cancel = CancelRequest { by: "ann".parse().unwrap(), at: Timestamp::UNIX_EPOCH };
        let memory = TicketMemory { cancel: Some(cancel), ..TicketMemory::default() };
        assert_eq!(serde_json::to_string(&memory).unwrap(), "{}");
    }

    #[test]
    fn the_watermark_never_falls() {
        let mut memory = TicketMemory::default();
        let later = Timestamp::from_second(100).unwrap();
        memory.mark_end(mark(TaskId::generate()), later);
        memory.mark_end(mark(TaskId::generate()), Timestamp::UNIX_EPOCH);
        assert_eq!(memory.watermark, Some(later));
    }
}
