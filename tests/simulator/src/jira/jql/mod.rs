//! A subset of JQL: what a poller needs. Anything else is refused, never guessed.

mod evaluate;
mod parse;

use super::model::{Issue, State};
use parse::Parser;

/// A parsed query.
#[derive(Debug)]
pub(super) struct Query {
    condition: Option<Condition>,
    order: Vec<(String, bool)>,
}

#[derive(Debug)]
enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Clause { field: String, operator: Operator, values: Vec<String> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    In,
    NotIn,
    Contains,
    NotContains,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Empty,
    NotEmpty,
}

impl Query {
    /// Reads a query.
    pub(super) fn parse(jql: &str) -> Result<Self, String> {
        let mut parser = Parser::new(jql)?;
        let starts_with_order = parser.peek_word("order");
        let condition = if parser.is_at_end() || starts_with_order { None } else { Some(parser.any()?) };
        let order = parser.order()?;
        if !parser.is_at_end() {
            return Err(format!("Error in the JQL Query: '{}' is not expected.", parser.shown()));
        }
        Ok(Self { condition, order })
    }

    /// Whether something restricts it: Jira answers no other.
    pub(super) fn is_bounded(&self) -> bool {
        self.condition.is_some()
    }

    /// The matching issues, in order. `me` is the account that asks.
    pub(super) fn run<'a>(
        &self,
        state: &State,
        issues: impl Iterator<Item = &'a Issue>,
        me: &str,
    ) -> Result<Vec<&'a Issue>, String> {
        let mut found = Vec::new();
        for issue in issues {
            if self.condition.as_ref().map_or(Ok(true), |it| it.holds(state, issue, me))? {
                found.push(issue);
            }
        }
        // The newest first unless told otherwise.
        found.sort_by_key(|issue| std::cmp::Reverse(issue.id));
        for (field, descending) in self.order.iter().rev() {
            found.sort_by(|a, b| {
                let order = sort_key(field, a).cmp(&sort_key(field, b));
                if *descending { order.reverse() } else { order }
            });
        }
        Ok(found)
    }
}

fn sort_key(field: &str, issue: &Issue) -> (String, i64) {
    let number = |text: &str| text.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0);
    match field {
        "updated" => (String::new(), issue.updated.as_millisecond()),
        "created" => (String::new(), issue.created.as_millisecond()),
        "key" | "issuekey" => (issue.project().to_owned(), number(&issue.key)),
        "id" => (String::new(), i64::try_from(issue.id).unwrap_or(i64::MAX)),
        "status" => (issue.status.clone(), 0),
        "summary" => (issue.summary.clone(), 0),
        _ => (issue.priority.clone(), 0),
    }
}
