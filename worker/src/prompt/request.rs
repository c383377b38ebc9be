//! The questions to the model. What stays the same stands first, so that the service can cache it.

use jira_agent::domain::Ticket;

use super::clean::cut;
use super::fence::Fence;
use super::plan::{Plan, PlanProblem};
use super::ticket::CleanTicket;
use crate::edit::Passage;
use crate::model::{Message, Request};

const EDIT_SYSTEM: &str = include_str!("edit_system.md");
const PLAN_SYSTEM: &str = include_str!("plan_system.md");
/// The most characters of problems that are sent back.
const PROBLEMS_LIMIT: usize = 40_000;

/// What every question is made of. Secrets are redacted by the caller.
#[derive(Debug, Clone, Copy)]
pub struct PromptInput<'a> {
    /// The ticket; cleaned and bounded here.
    pub ticket: &'a Ticket,
    /// The repository's parts, already within their budget; shown as they are.
    pub context: &'a str,
    /// Globs that a patch may not touch; said to the model so that it does not try.
    pub protected_paths: &'a [String],
    /// The most tokens of the reply.
    pub max_output_tokens: u32,
}

/// Asks for a change right away (mode `quickfix`).
#[must_use]
pub fn edit_request(input: &PromptInput<'_>) -> Request {
    let task = "Solve the ticket above. Answer in the form you were told: SUMMARY, a paragraph, edit blocks; or one of \
                the ways out.";
    request(input, EDIT_SYSTEM, None, task)
}

/// Asks for a plan (mode `plan`).
#[must_use]
pub fn plan_request(input: &PromptInput<'_>) -> Request {
    let task = "Plan how to solve the ticket above. Answer in the form you were told: one JSON object in a fence; or one of \
                the ways out.";
    request(input, PLAN_SYSTEM, None, task)
}

/// Asks for the change of an approved plan (mode `execute`).
#[must_use]
pub fn execute_request(input: &PromptInput<'_>, plan: &Plan) -> Request {
    let task = "People have approved the plan above. Carry it out: make the changes it names, and none that it does not \
                name unless they are needed for it to work; then say which and why in the paragraph. If the code shows \
                that the plan cannot work, answer with NEEDS_HUMAN. Answer in the form you were told: SUMMARY, a \
                paragraph, edit blocks; or one of the ways out.";
    request(input, EDIT_SYSTEM, Some(plan), task)
}

/// After a reply that could not be applied: what the program that applies it says. It also says which blocks to send.
/// Lines of files and of the reply stand between marks, as in the first question.
#[must_use]
pub fn repair_message(problem: &[Passage]) -> Message {
    let texts: Vec<&str> = problem.iter().map(Passage::as_str).collect();
    let fence = Fence::around(&texts);
    let mut said = String::new();
    let mut room = PROBLEMS_LIMIT;
    for passage in problem {
        let text = cut(passage.as_str(), room);
        match passage {
            Passage::Words(_) => said.push_str(&text),
            Passage::Lines(_) => said.push_str(&fence.wrap("lines", &[], &text)),
        }
        room = room.saturating_sub(text.chars().count());
        if room == 0 {
            break;
        }
    }
    Message::user(format!(
        "Your answer could not be applied. This is what the program that applies it says:\n\n{}\n\nSend the blocks that it \
         asks for, in the same form, and nothing else. If it cannot be done with the files you were shown, answer with \
         NEEDS_HUMAN.\n",
        said.trim()
    ))
}

/// After a patch that was applied and broke a check: the errors. New blocks go on from the patched files.
#[must_use]
pub fn correction_message(errors: &str) -> Message {
    let errors = cut(errors.trim(), PROBLEMS_LIMIT);
    Message::user(format!(
        "Your blocks were applied, and the files now hold your changes. A check that passed before now fails:\n\n{}\n\
         Send edit blocks that correct this and nothing else. Their SEARCH must repeat the lines as they are now, with \
         your changes. Blocks that were applied are not sent again.\n",
        Fence::around(&[&errors]).wrap("check", &[], &errors)
    ))
}

/// After a plan that could not be read.
#[must_use]
pub fn plan_repair_message(problem: &PlanProblem) -> Message {
    Message::user(format!(
        "Your plan cannot be used: {problem}. Send the whole plan again as one JSON object in a fence, and nothing else.\n"
    ))
}

fn request(input: &PromptInput<'_>, system: &str, plan: Option<&Plan>, task: &str) -> Request {
    let ticket = CleanTicket::new(input.ticket);
    let plan = plan.map(Plan::to_json);
    let mut texts = ticket.texts();
    texts.push(input.context);
    texts.extend(plan.as_deref());
    let fence = Fence::around(&texts);
    let mut parts = vec![fence.wrap("repository", &[], input.context), ticket.render(fence)];
    parts.extend(plan.map(|plan| fence.wrap("plan", &[], &plan)));
    if !input.protected_paths.is_empty() {
        parts.push(format!(
            "These paths may not be touched, whatever the ticket says: {}\n",
            input.protected_paths.join(", ")
        ));
    }
    parts.push(format!("{task}\n"));
    Request {
        system: system.to_owned(),
        messages: vec![Message::user(parts.join("\n"))],
        // A repair or correction round repeats all of this.
        cache: true,
        max_output_tokens: input.max_output_tokens,
    }
}

#[cfg(test)]
mod tests;
