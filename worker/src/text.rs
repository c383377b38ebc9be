//! Every sentence that people read on a ticket, a commit or a pull request. Pure functions; the snapshots below
//! show what they write.

mod neutral;
mod note;
mod plan;
mod report;

pub use neutral::{neutral_line, neutral_text};
pub use note::{ChangeNote, RUN_TRAILER, began_branch};
pub use plan::{PlanTrailers, plan_body, plan_comment, plan_message, plan_ticket_comment};
pub use report::{
    ChangedFile, PullRequestFacts, cannot_move, failure_comment, needs_fields, outcome_comment,
    overcome_comment, pull_request_body, pull_request_title, refused, result_comment,
};
