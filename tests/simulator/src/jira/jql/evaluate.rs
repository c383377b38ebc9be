//! Whether an issue matches.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{Condition, Operator};
use crate::jira::Category;
use crate::jira::adf;
use crate::jira::model::{Issue, State};

impl Condition {
    pub(super) fn holds(&self, state: &State, issue: &Issue, me: &str) -> Result<bool, String> {
        Ok(match self {
            Self::And(all) => {
                for condition in all {
                    if !condition.holds(state, issue, me)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(any) => {
                for condition in any {
                    if condition.holds(state, issue, me)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(condition) => !condition.holds(state, issue, me)?,
            Self::Clause { field, operator, values } => clause(state, issue, me, (field, *operator, values))?,
        })
    }
}

fn clause(
    state: &State,
    issue: &Issue,
    me: &str,
    (field, operator, wanted): (&str, Operator, &[String]),
) -> Result<bool, String> {
    use Operator::*;
    let held = held(state, issue, field);
    let equal = |a: &str, b: &str| {
        a.eq_ignore_ascii_case(if b.eq_ignore_ascii_case("currentuser()") { me } else { b })
    };
    let is_in = || held.iter().any(|held| wanted.iter().any(|wanted| equal(held, wanted)));
    let contains = || {
        let words = |text: &str| text.to_lowercase();
        wanted
            .iter()
            .all(|wanted| held.iter().any(|held| words(held).contains(words(wanted).trim_end_matches('*'))))
    };
    Ok(match operator {
        In => is_in(),
        // As in Jira, an issue without a value is in neither.
        NotIn => !held.is_empty() && !is_in(),
        Contains => contains(),
        NotContains => !contains(),
        Empty => held.is_empty(),
        NotEmpty => !held.is_empty(),
        Less | LessOrEqual | Greater | GreaterOrEqual => {
            let at = match field {
                "updated" => issue.updated,
                "created" => issue.created,
                other => {
                    return Err(format!("The operators < and > cannot be used with the field '{other}'."));
                }
            };
            let limit = moment(wanted.first().map_or("", String::as_str))?;
            match operator {
                Less => at < limit,
                LessOrEqual => at <= limit,
                Greater => at > limit,
                _ => at >= limit,
            }
        }
    })
}

/// The values that the issue has for the field.
fn held(state: &State, issue: &Issue, field: &str) -> Vec<String> {
    let person = |account: &Option<String>| {
        let Some(account) = account else { return Vec::new() };
        let user = state.users.get(account);
        let names = user.map(|user| [user.name.clone(), user.email.clone()]).into_iter().flatten();
        [account.clone()].into_iter().chain(names.filter(|name| !name.is_empty())).collect()
    };
    let project = || {
        let key = issue.project().to_owned();
        state.projects.get(&key).map(|project| project.name.clone()).into_iter().chain([key]).collect()
    };
    match field {
        "project" => project(),
        "key" | "issuekey" | "id" => vec![issue.key.clone(), issue.id.to_string()],
        "status" => {
            [issue.status.clone()].into_iter().chain(state.workflow.status_id(&issue.status)).collect()
        }
        "statuscategory" => {
            let status = state.workflow.status(&issue.status);
            status
                .map(|status| category_names(status.category))
                .into_iter()
                .flatten()
                .map(str::to_owned)
                .collect()
        }
        "labels" => issue.labels.clone(),
        "component" => issue.components.clone(),
        "assignee" => person(&issue.assignee),
        "reporter" => person(&issue.reporter),
        "summary" => vec![issue.summary.clone()],
        "text" => vec![issue.summary.clone(), adf::to_markdown(&issue.description)],
        "issuetype" => vec![issue.kind.clone()],
        "priority" => vec![issue.priority.clone()],
        _ => Vec::new(),
    }
}

fn category_names(category: Category) -> [&'static str; 2] {
    match category {
        Category::New => ["To Do", "new"],
        Category::Indeterminate => ["In Progress", "indeterminate"],
        Category::Done => ["Done", "done"],
    }
}

/// `-5m`, `-2h`, `-1d`, `-1w`, `2026-01-30`, `2026-01-30 12:00` (UTC, minutes), or milliseconds since 1970.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "Date value '{text}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'."
        )
    };
    let signed = text.strip_prefix('-').map(|rest| (-1, rest)).unwrap_or((1, text));
    if let Some((number, unit)) =
        signed.1.char_indices().next_back().map(|(at, unit)| (&signed.1[..at], unit))
    {
        let seconds = match unit {
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(86_400),
            'w' => Some(604_800),
            _ => None,
        };
        if let (Ok(number), Some(seconds)) = (number.parse::<i64>(), seconds) {
            let away = number.checked_mul(seconds * signed.0).ok_or_else(wrong)?;
            return Timestamp::now().checked_add(SignedDuration::from_secs(away)).map_err(|_| wrong());
        }
    }
    if let Ok(milliseconds) = text.parse() {
        return Timestamp::from_millisecond(milliseconds).map_err(|_| wrong());
    }
    let date = text.replace('/', "-");
    let date = if date.contains(' ') { date } else { format!("{date} 00:00") };
    let date = DateTime::strptime("%Y-%m-%d %H:%M", &date).map_err(|_| wrong())?;
    date.to_zoned(TimeZone::UTC).map(|at| at.timestamp()).map_err(|_| wrong())
}
