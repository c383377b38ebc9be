//! How a plan is shown, and the message of the plan commit.

use jira_agent::domain::{CommitId, TaskId, Ticket, TicketKey};

use super::note::branch_trailer;
use super::{PullRequestFacts, RUN_TRAILER, neutral_line, neutral_text, pull_request_title};
use crate::prompt::Plan;

/// What the plan commit says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTrailers {
    /// The run.
    pub run: TaskId,
    /// Whether the agent's branch begins with the commit.
    pub began_branch: bool,
    /// Who signs it off: `name <address>`.
    pub author: String,
}

/// The message of the plan commit: the plan as JSON, signed off. Its id is what an approval binds to.
#[must_use]
pub fn plan_message(ticket: &TicketKey, plan: &Plan, trailers: &PlanTrailers) -> String {
    format!(
        "{}\n\n```json\n{}\n```\n\n{RUN_TRAILER}: {}\n{}\nSigned-off-by: {}\n",
        pull_request_title(ticket, &format!("Plan: {}", plan.summary)),
        inert_json(&plan.to_json()),
        trailers.run,
        branch_trailer(trailers.began_branch),
        trailers.author,
    )
}

/// The same JSON without anything that a service acts on in a commit message: `#`, `@`, links and `GH-12`, which JSON
/// lets us write as escapes. It reads back equal.
fn inert_json(json: &str) -> String {
    json.replace('#', r"\u0023").replace('@', r"\u0040").replace("://", r":\/\/").replace("GH-", r"G\u0048-")
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
        "### Plan `{}`\n{}\nSay on the ticket what should be different, then start it again: mode `plan` writes a new plan, \
         mode `quickfix` makes the change.\n",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::parse_plan;

    #[test]
    fn the_plan_commit_reads_back_as_the_plan_and_holds_nothing_that_acts() {
        let json = r#"{"version":1,"summary":"Fixes #12 @all","changes":[{"path":"a.rs","action":"change",
            "why":"PROJ-1 #done, closes GH-3 and https://github.com/a/b/issues/4"}],"strategy":"","tests":[],"risks":[],"questions":[]}"#;
        let plan = parse_plan(json).unwrap();
        let ticket = "PROJ-1".parse().unwrap();
        let run = "01K9ZW4R7M1S8T3V5X7Z9B1D3F".parse().unwrap();
        let author = "jira-agent <a@b.example>";
        let trailers = PlanTrailers { run, began_branch: true, author: author.to_owned() };
        let message = plan_message(&ticket, &plan, &trailers);
        assert_eq!(parse_plan(&message).unwrap(), plan);
        let (_, json) = message.split_once("```json").unwrap();
        for acting in ["#12", "#done", "GH-3", "://", "@all"] {
            assert!(!json.contains(acting), "{acting} in {json}");
        }
        assert!(message.starts_with("PROJ-1: Plan: Fixes issue"), "{message}");
        assert!(
            message.ends_with(&format!("{run}\nJira-Agent-Branch: begun\nSigned-off-by: {author}\n")),
            "{message}"
        );
    }
}
