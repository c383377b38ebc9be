//! How a plan is shown, and the message of the plan commit.

use jira_agent::domain::{CommitId, TaskId, Ticket, TicketKey};

use super::{PullRequestFacts, RUN_TRAILER, neutral_json, neutral_line, neutral_text, pull_request_title};
use crate::prompt::Plan;

/// The message of the plan commit: the plan as JSON, signed off. Its id is what an approval binds to.
#[must_use]
pub fn plan_message(ticket: &TicketKey, plan: &Plan, run: TaskId, author: &str) -> String {
    format!(
        "{}\n\n```json\n{}\n```\n\n{RUN_TRAILER}: {run}\nSigned-off-by: {author}\n",
        pull_request_title(ticket, &format!("Plan: {}", plan.summary)),
        neutral_json(&plan.to_json()),
    )
}

/// The plan for people, as the description of the draft pull request.
#[must_use]
pub fn plan_body(ticket: &Ticket, plan: &Plan, commit: &CommitId, run: TaskId) -> String {
    let mut body = format!(
        "This is a plan, not yet a change. It waits for approval.\n\n**Ticket:** [{}]({}) {}\n",
        ticket.key,
        ticket.url,
        neutral_line(&ticket.summary, 120)
    );
    body.push_str(&plan_sections(plan));
    body.push_str(&format!("\n---\nWritten by jira-agent, plan commit `{commit}`, run `{run}`.\n"));
    body
}

/// The comment on the pull request.
#[must_use]
pub fn plan_comment(plan: &Plan, commit: &CommitId) -> String {
    format!(
        "### Plan `{}`\n{}\nTo have it carried out, comment `/approve`. To change it, comment `/plan` and what should \
         be different. To drop it, comment `/reject`.\n",
        commit.short(),
        plan_sections(plan)
    )
}

/// The short comment on the ticket.
#[must_use]
pub fn plan_ticket_comment(facts: &PullRequestFacts, plan: &Plan) -> String {
    let mut text = format!(
        "I propose a plan in draft pull request [#{}: {}]({}): {}\n\nIt touches {}.",
        facts.number,
        facts.title,
        facts.url,
        neutral_line(&plan.summary, 200),
        counted(plan.changes.len(), "file")
    );
    if !plan.questions.is_empty() {
        text.push_str(&format!(" There {} open.", open_questions(plan.questions.len())));
    }
    text.push_str(" Please read it there and approve or reject it.\n");
    text
}

fn plan_sections(plan: &Plan) -> String {
    let mut text = format!("\n{}\n\n#### Files\n\n", neutral_text(&plan.summary));
    for change in &plan.changes {
        text.push_str(&format!(
            "- {} `{}`: {}\n",
            change.action,
            change.path,
            neutral_line(&change.why, 300)
        ));
    }
    if !plan.strategy.trim().is_empty() {
        text.push_str(&format!("\n#### Strategy\n\n{}\n", neutral_text(&plan.strategy)));
    }
    for (title, entries) in [("Tests", &plan.tests), ("Risks", &plan.risks), ("Questions", &plan.questions)] {
        if entries.is_empty() {
            continue;
        }
        text.push_str(&format!("\n#### {title}\n\n"));
        for entry in entries {
            text.push_str(&format!("- {}\n", neutral_line(entry, 500)));
        }
    }
    text
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn open_questions(number: usize) -> String {
    if number == 1 { "is 1 question".to_owned() } else { format!("are {number} questions") }
}
