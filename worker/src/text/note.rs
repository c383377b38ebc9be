//! The commit message of a change. All that a pull request says of a run is in it, so that a run which finds its
//! own commit again can go on from there without asking the model.

use jira_agent::domain::{TaskId, TicketKey};

use super::{neutral_line, neutral_text};
use crate::model::Usage;

pub use crate::git::RUN_TRAILER;

const MODEL: &str = "Jira-Agent-Model";
const TOKENS: &str = "Jira-Agent-Tokens";
const COST: &str = "Jira-Agent-Cost";
const CHECK: &str = "Jira-Agent-Check";
const BRANCH: &str = "Jira-Agent-Branch";

fn branch_word(began: bool) -> &'static str {
    if began { "begun" } else { "continued" }
}

/// The trailer that says whether the agent's branch begins with a commit.
pub(super) fn branch_trailer(began: bool) -> String {
    format!("{BRANCH}: {}", branch_word(began))
}

/// Whether the agent's branch begins with the commit of this message, by its trailer.
#[must_use]
pub fn began_branch(message: &str) -> bool {
    let trailer = branch_trailer(true);
    message.lines().any(|line| line == trailer)
}

/// What a commit of the agent says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeNote {
    /// The ticket.
    pub ticket: TicketKey,
    /// The run.
    pub run: TaskId,
    /// One imperative line without the key.
    pub summary: String,
    /// A paragraph for reviewers; may be empty.
    pub explanation: String,
    /// The model's name.
    pub model: String,
    /// Tokens of all calls of the run.
    pub usage: Usage,
    /// US dollars, when prices are configured.
    pub cost: Option<f64>,
    /// What was checked and with what result, a line each.
    pub checks: Vec<String>,
    /// Whether the agent's branch begins with this commit.
    pub began_branch: bool,
}

impl ChangeNote {
    /// The commit message: `<KEY>: <summary>`, the explanation, the trailers.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = format!("{}: {}\n\n", self.ticket, neutral_line(&self.summary, 72));
        let explanation = neutral_text(&self.explanation);
        if !explanation.is_empty() {
            message.push_str(&explanation);
            message.push_str("\n\n");
        }
        let usage = &self.usage;
        let mut trailer = |name: &str, value: String| {
            message.push_str(&format!("{name}: {value}\n"));
        };
        trailer(RUN_TRAILER, self.run.to_string());
        trailer(BRANCH, branch_word(self.began_branch).to_owned());
        trailer(MODEL, neutral_line(&self.model, 100));
        trailer(
            TOKENS,
            format!("{} {} {} {}", usage.input, usage.output, usage.cache_write, usage.cache_read),
        );
        if let Some(cost) = self.cost {
            trailer(COST, format!("{cost:.6} USD"));
        }
        for check in &self.checks {
            trailer(CHECK, neutral_line(check, 200));
        }
        message
    }

    /// Reads a message that [`ChangeNote::message`] wrote; `None` when it is not one of this ticket.
    #[must_use]
    pub fn parse(ticket: &TicketKey, message: &str) -> Option<Self> {
        let (subject, rest) = message.split_once('\n').unwrap_or((message, ""));
        let summary = subject.strip_prefix(&format!("{ticket}: "))?;
        let rest = rest.trim();
        let (explanation, block) = rest.rsplit_once("\n\n").unwrap_or(("", rest));
        let values = |name: &str| {
            let prefix = format!("{name}: ");
            block.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect::<Vec<_>>()
        };
        let one = |name: &str| values(name).into_iter().next();
        let tokens: Vec<u64> =
            one(TOKENS).unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
        let token = |index: usize| tokens.get(index).copied().unwrap_or(0);
        Some(Self {
            ticket: ticket.clone(),
            run: one(RUN_TRAILER)?.parse().ok()?,
            summary: summary.to_owned(),
            explanation: explanation.trim().to_owned(),
            model: one(MODEL).unwrap_or_default(),
            usage: Usage { input: token(0), output: token(1), cache_write: token(2), cache_read: token(3) },
            cost: one(COST).and_then(|cost| cost.strip_suffix(" USD")?.parse().ok()),
            checks: values(CHECK),
            began_branch: one(BRANCH).as_deref() == Some(branch_word(true)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> ChangeNote {
        ChangeNote {
            ticket: "PROJ-1".parse().unwrap(),
            run: "01K9ZW4R7M1S8T3V5X7Z9B1D3F".parse().unwrap(),
            summary: "Charge for every item".to_owned(),
            explanation: "The total ignored the quantity.\n\nNow it is multiplied.".to_owned(),
            model: "claude-x".to_owned(),
            usage: Usage { input: 1200, output: 80, cache_write: 0, cache_read: 7 },
            cost: Some(0.0125),
            checks: vec!["syntax: 1 file, no new errors".to_owned()],
            began_branch: true,
        }
    }

    #[test]
    fn a_message_reads_back_as_the_same_note() {
        let message = note().message();
        insta::assert_snapshot!(message, @r"
        PROJ-1: Charge for every item

        The total ignored the quantity.

        Now it is multiplied.

        Jira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3F
        Jira-Agent-Branch: begun
        Jira-Agent-Model: claude-x
        Jira-Agent-Tokens: 1200 80 0 7
        Jira-Agent-Cost: 0.012500 USD
        Jira-Agent-Check: syntax: 1 file, no new errors
        ");
        assert_eq!(ChangeNote::parse(&note().ticket, &message), Some(note()));
    }

    #[test]
    fn a_note_without_an_explanation_reads_back_too() {
        let bare = ChangeNote { explanation: String::new(), cost: None, checks: vec![], ..note() };
        assert_eq!(ChangeNote::parse(&bare.ticket, &bare.message()), Some(bare));
    }

    #[test]
    fn a_commit_of_somebody_else_is_no_note() {
        assert_eq!(ChangeNote::parse(&note().ticket, "PROJ-1: by hand\n"), None);
        assert_eq!(ChangeNote::parse(&note().ticket, "PROJ-12: x\n\nJira-Agent-Run: 1\n"), None);
    }

    #[test]
    fn a_forged_trailer_in_the_explanation_does_not_win() {
        let forged = ChangeNote {
            explanation: "x\n\nJira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3G".to_owned(),
            ..note()
        };
        let read = ChangeNote::parse(&forged.ticket, &forged.message()).unwrap();
        assert_eq!(read.run, forged.run);
    }
}
