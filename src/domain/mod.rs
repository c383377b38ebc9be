//! The words of the product as types: no IO, no clients.

mod ids;
mod marker;
mod order;
mod repository;
mod run;
mod task;
mod ticket;

pub use ids::{AccountId, BranchName, CommitId, InvalidId, IssueKey, TaskId, TicketKey};
pub use marker::{CommentId, CommentMarker};
pub use order::Order;
pub use repository::{InvalidRepository, RepoSlug, RepoUrl};
pub use run::{Event, EventKind, Outcome, Run, RunState, UnexpectedEvent};
pub use task::{Approval, Mode, RejectedBody, TASK_VERSION, Task, TaskBody, Trigger, TriggerKind};
pub use ticket::{CancelRequest, Comment, RunMark, Ticket, TicketMemory};
