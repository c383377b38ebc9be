//! The pull request and the comments on the ticket.

use jira_agent::domain::{BranchName, Outcome, TaskId, Ticket, TicketKey};

use super::{ChangeNote, neutral_line, neutral_text};

/// One file of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path from the repository's root.
    pub path: String,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
}

/// Where the result is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestFacts {
    /// Its number.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// Its title.
    pub title: String,
    /// The agent's branch.
    pub branch: BranchName,
    /// Where people see the branch.
    pub branch_url: String,
}

/// The title of a pull request, and the subject of its commits.
#[must_use]
pub fn pull_request_title(ticket: &TicketKey, summary: &str) -> String {
    format!("{ticket}: {}", neutral_line(summary, 72))
}

/// The description of a pull request with a change.
#[must_use]
pub fn pull_request_body(ticket: &Ticket, note: &ChangeNote, files: &[ChangedFile]) -> String {
    let mut body = String::new();
    let explanation = neutral_text(&note.explanation);
    body.push_str(if explanation.is_empty() { &note.summary } else { &explanation });
    body.push_str(&format!(
        "\n\n**Ticket:** [{}]({}) {}\n",
        ticket.key,
        ticket.url,
        neutral_line(&ticket.summary, 120)
    ));
    if let TicketKey::GitHub { number, .. } = &ticket.key {
        body.push_str(&format!("\nCloses #{number}\n"));
    }
    body.push_str("\n### Files\n\n| file | lines added | lines removed |\n| --- | ---: | ---: |\n");
    for file in files.iter().take(100) {
        body.push_str(&format!("| `{}` | {} | {} |\n", file.path, file.added, file.removed));
    }
    if files.len() > 100 {
        body.push_str(&format!("\nand {} more\n", files.len() - 100));
    }
    body.push_str("\n### Checks\n\n");
    for check in &note.checks {
        body.push_str(&format!("- {check}\n"));
    }
    body.push_str("- tests: not run\n");
    body.push_str(&format!(
        "\n---\nWritten by jira-agent, {}. Please review it like any other change.\n",
        spent(note)
    ));
    body
}

/// Model, tokens, cost and run in half a sentence.
fn spent(note: &ChangeNote) -> String {
    let usage = &note.usage;
    let cost = note.cost.map_or_else(String::new, |cost| format!(", about ${cost:.4}"));
    let read = usage.input + usage.cache_write + usage.cache_read;
    format!(
        "model `{}`, {read} tokens read and {} written{cost}, run `{}`",
        note.model, usage.output, note.run
    )
}

/// The comment on the ticket when a pull request holds a change; `notes` say what could not be done besides.
#[must_use]
pub fn result_comment(facts: &PullRequestFacts, note: &ChangeNote, opened: bool, notes: &[String]) -> String {
    let done = if opened { "I opened" } else { "I updated" };
    let mut text = format!(
        "{done} pull request [#{}: {}]({}) from branch [`{}`]({}).\n\n",
        facts.number, facts.title, facts.url, facts.branch, facts.branch_url
    );
    let explanation = neutral_text(&note.explanation);
    text.push_str(if explanation.is_empty() { &note.summary } else { &explanation });
    text.push_str("\n\n");
    for check in &note.checks {
        text.push_str(&format!("- {check}\n"));
    }
    text.push_str("- tests: not run\n");
    for note in notes {
        text.push_str(&format!("\n{note}\n"));
    }
    text.push_str(&format!("\nUsed: {}.\n", spent(note)));
    text
}

/// Says that Jira refused one part of the hand-over.
#[must_use]
pub fn refused(doing: &str, why: &str) -> String {
    format!("Jira refused {doing}: {}", neutral_text(why))
}

/// Says that the ticket stayed where it is because of fields that only a person can fill.
#[must_use]
pub fn needs_fields(transition: &str, fields: &[String]) -> String {
    format!(
        "I could not move this ticket: \"{transition}\" asks for {}, which a person has to fill in.",
        quoted(fields)
    )
}

/// Says that the ticket stayed where it is, and why.
#[must_use]
pub fn cannot_move(available: &[String]) -> String {
    if available.is_empty() {
        return "I could not move this ticket: my account sees no transition from its present state. It needs the \
                permission \"Transition issues\", or a person moves the ticket."
            .to_owned();
    }
    format!(
        "I could not move this ticket: none of the states in `jira.review_states` can be reached from here. \
         It could go to: {}.",
        quoted(available)
    )
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// The comment on the ticket for an end without a pull request; `None` where nothing is said.
#[must_use]
pub fn outcome_comment(outcome: &Outcome, run: TaskId) -> Option<String> {
    let text = match outcome {
        Outcome::NothingToChange { reason } => {
            format!("I changed nothing: {}", neutral_text(reason))
        }
        Outcome::NeedsHuman { reason } => format!(
            "I need a person's help: {}\n\nAnswer in a comment or change the ticket, then start me again.",
            neutral_text(reason)
        ),
        Outcome::Cancelled { by } => format!("The run was cancelled by {}.", neutral_line(by, 80)),
        Outcome::PullRequestOpened { .. }
        | Outcome::PullRequestUpdated { .. }
        | Outcome::PlanProposed { .. }
        | Outcome::Superseded { .. } => return None,
    };
    Some(format!("{text}\n\nRun `{run}`.\n"))
}

/// What stands in the place of [`failure_comment`] once the same run has ended otherwise.
#[must_use]
pub fn overcome_comment(outcome: &Outcome, run: TaskId) -> String {
    let end = match outcome {
        Outcome::Superseded { reason } => format!("there was nothing left to do: {}", neutral_text(reason)),
        _ => "another comment of mine says how it ended".to_owned(),
    };
    format!("An earlier attempt at this failed. It was started again, and {end}.\n\nRun `{run}`.\n")
}

/// The comment on the ticket when a run failed for good.
#[must_use]
pub fn failure_comment(reason: &str, attempts: u32, run: TaskId) -> String {
    let tries = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    format!(
        "I could not work on this ticket, and gave up after {tries}: {}\n\nThe task is kept on the dead-letter queue. \
         Once the cause is mended, start it again.\n\nRun `{run}`.\n",
        neutral_text(reason)
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jira_agent::domain::TicketMemory;

    use super::*;
    use crate::model::Usage;

    fn ticket(key: &str) -> Ticket {
        Ticket {
            key: key.parse().unwrap(),
            url: "https://acme.example/browse/PROJ-1".to_owned(),
            summary: "The total is wrong".to_owned(),
            description: String::new(),
            status: "To Do".to_owned(),
            labels: vec![],
            components: vec![],
            assignees: vec![],
            reporter: None,
            kind: "Bug".to_owned(),
            comments: vec![],
            updated_at: Timestamp::UNIX_EPOCH,
            own_comments: vec![],
            memory: TicketMemory::default(),
        }
    }

    fn note(key: &str) -> ChangeNote {
        ChangeNote {
            ticket: key.parse().unwrap(),
            run: "01K9ZW4R7M1S8T3V5X7Z9B1D3F".parse().unwrap(),
            summary: "Charge for every item".to_owned(),
            explanation: "The total ignored the quantity.".to_owned(),
            model: "claude-x".to_owned(),
            usage: Usage { input: 1200, output: 80, cache_write: 0, cache_read: 0 },
            cost: Some(0.0125),
            checks: vec!["syntax: 1 file, no new errors".to_owned()],
            began_branch: true,
        }
    }

    #[test]
    fn a_pull_request_says_what_was_done_and_checked_and_what_it_cost() {
        let files = [ChangedFile { path: "src/cart.rs".to_owned(), added: 1, removed: 1 }];
        insta::assert_snapshot!(pull_request_body(&ticket("PROJ-1"), &note("PROJ-1"), &files), @r"
        The total ignored the quantity.

        **Ticket:** [PROJ-1](https://acme.example/browse/PROJ-1) The total is wrong

        ### Files

        | file | lines added | lines removed |
        | --- | ---: | ---: |
        | `src/cart.rs` | 1 | 1 |

        ### Checks

        - syntax: 1 file, no new errors
        - tests: not run

        ---
        Written by jira-agent, model `claude-x`, 1200 tokens read and 80 written, about $0.0125, run `01K9ZW4R7M1S8T3V5X7Z9B1D3F`. Please review it like any other change.
        ");
    }

    #[test]
    fn only_a_github_issue_is_closed_by_its_pull_request() {
        let body = pull_request_body(&ticket("acme/shop#7"), &note("acme/shop#7"), &[]);
        assert!(body.contains("\nCloses #7\n"));
        assert!(!pull_request_body(&ticket("PROJ-1"), &note("PROJ-1"), &[]).contains("Closes"));
    }

    #[test]
    fn the_ticket_hears_where_the_result_is_and_why_it_was_not_moved() {
        let facts = PullRequestFacts {
            number: 4,
            url: "https://git.example/acme/shop/pull/4".to_owned(),
            title: "PROJ-1: Charge for every item".to_owned(),
            branch: "ai/PROJ-1".parse().unwrap(),
            branch_url: "https://git.example/acme/shop/tree/ai/PROJ-1".to_owned(),
        };
        let states = ["Selected".to_owned(), "Done".to_owned()];
        insta::assert_snapshot!(result_comment(&facts, &note("PROJ-1"), true, &[cannot_move(&states)]), @r#"
        I opened pull request [#4: PROJ-1: Charge for every item](https://git.example/acme/shop/pull/4) from branch [`ai/PROJ-1`](https://git.example/acme/shop/tree/ai/PROJ-1).

        The total ignored the quantity.

        - syntax: 1 file, no new errors
        - tests: not run

        I could not move this ticket: none of the states in `jira.review_states` can be reached from here. It could go to: "Selected", "Done".

        Used: model `claude-x`, 1200 tokens read and 80 written, about $0.0125, run `01K9ZW4R7M1S8T3V5X7Z9B1D3F`.
        "#);
        assert!(cannot_move(&[]).contains("Transition issues"));
    }

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        insta::assert_snapshot!(failure_comment("the token was refused", 5, note("PROJ-1").run), @r"
        I could not work on this ticket, and gave up after 5 attempts: the token was refused

        The task is kept on the dead-letter queue. Once the cause is mended, start it again.

        Run `01K9ZW4R7M1S8T3V5X7Z9B1D3F`.
        ");
    }

    #[test]
    fn a_failure_that_was_overcome_claims_no_failure() {
        let run = note("PROJ-1").run;
        let cancelled = Outcome::Cancelled { by: "ann".to_owned() };
        insta::assert_snapshot!(overcome_comment(&cancelled, run), @r"
        An earlier attempt at this failed. It was started again, and another comment of mine says how it ended.

        Run `01K9ZW4R7M1S8T3V5X7Z9B1D3F`.
        ");
        let superseded = Outcome::Superseded { reason: "a later run has done it".to_owned() };
        let text = overcome_comment(&superseded, run);
        assert!(text.contains("nothing left to do: a later run has done it."), "{text}");
    }

    #[test]
    fn a_superseded_run_says_nothing() {
        assert_eq!(outcome_comment(&Outcome::Superseded { reason: String::new() }, note("PROJ-1").run), None);
    }
}
