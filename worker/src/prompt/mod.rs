//! What the model is told, and how its answer is read. Pure functions; the snapshots in the tests show the words.

mod clean;
mod fence;
mod plan;
mod reply;
mod request;
mod ticket;

pub use self::clean::{clean_line, clean_untrusted, is_hidden};
pub use self::plan::{
    Plan, PlanProblem, PlanReply, PlannedAction, PlannedFile, parse_plan, parse_plan_reply,
};
pub use self::reply::{ReplyKind, parse_reply};
pub use self::request::{
    PromptInput, correction_message, edit_request, execute_request, plan_repair_message, plan_request,
    repair_message,
};
