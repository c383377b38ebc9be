//! Every sentence that people read on a ticket, a commit or a pull request. Pure functions; the snapshots below
//! show what they write.

mod neutral;
mod note;
mod plan;
mod report;

pub use neutral::{neutral_json, neutral_line, neutral_text};
pub use note::{ChangeNote, RUN_TRAILER};
pub use plan::{plan_body, plan_comment, plan_message, plan_ticket_comment};
pub use report::{
    ChangedFile, PullRequestFacts, failure_comment, outcome_comment, pull_request_body, pull_request_title,
    result_comment,
};
