//! A subset of JQL: what a poller needs. Anything else is refused, never guessed.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::model::{Issue, State};

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
    Clause {
        field: String,
        operator: Operator,
        values: Vec<String>,
    },
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

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

/// Fields that can be asked for, and what the answer compares.
const FIELDS: [&str; 16] = [
    "project",
    "key",
    "issuekey",
    "id",
    "status",
    "statuscategory",
    "labels",
    "assignee",
    "reporter",
    "updated",
    "created",
    "summary",
    "text",
    "issuetype",
    "component",
    "priority",
];
const SIGNS: [&str; 11] = ["!=", "!~", ">=", "<=", "=", "~", ">", "<", "(", ")", ","];
/// The most fields after `order by`.
const ORDER_LIMIT: usize = 7;

impl Query {
    /// Reads a query.
    pub(super) fn parse(jql: &str) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(jql)?,
            next: 0,
        };
        let starts_with_order = parser.peek_word("order");
        let condition = if parser.is_at_end() || starts_with_order {
            None
        } else {
            Some(parser.any()?)
        };
        let order = parser.order()?;
        if !parser.is_at_end() {
            return Err(format!(
                "Error in the JQL Query: '{}' is not expected.",
                parser.shown()
            ));
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
            if self
                .condition
                .as_ref()
                .map_or(Ok(true), |it| it.holds(state, issue, me))?
            {
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
    let number = |text: &str| {
        text.rsplit_once('-')
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(0)
    };
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

impl Condition {
    fn holds(&self, state: &State, issue: &Issue, me: &str) -> Result<bool, String> {
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
            Self::Clause {
                field,
                operator,
                values,
            } => clause(state, issue, me, (field, *operator, values))?,
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
        a.eq_ignore_ascii_case(if b.eq_ignore_ascii_case("currentuser()") {
            me
        } else {
            b
        })
    };
    let is_in = || {
        held.iter()
            .any(|held| wanted.iter().any(|wanted| equal(held, wanted)))
    };
    let contains = || {
        let words = |text: &str| text.to_lowercase();
        wanted.iter().all(|wanted| {
            held.iter()
                .any(|held| words(held).contains(words(wanted).trim_end_matches('*')))
        })
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
                    return Err(format!(
                        "The operators < and > cannot be used with the field '{other}'."
                    ));
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
        let names = user
            .map(|user| [user.name.clone(), user.email.clone()])
            .into_iter()
            .flatten();
        [account.clone()]
            .into_iter()
            .chain(names.filter(|name| !name.is_empty()))
            .collect()
    };
    let project = || {
        let key = issue.project().to_owned();
        state
            .projects
            .get(&key)
            .map(|project| project.name.clone())
            .into_iter()
            .chain([key])
            .collect()
    };
    match field {
        "project" => project(),
        "key" | "issuekey" | "id" => vec![issue.key.clone(), issue.id.to_string()],
        "status" => [issue.status.clone()]
            .into_iter()
            .chain(state.workflow.status_id(&issue.status))
            .collect(),
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
        "text" => vec![issue.summary.clone(), super::adf::to_markdown(&issue.description)],
        "issuetype" => vec![issue.kind.clone()],
        "priority" => vec![issue.priority.clone()],
        _ => Vec::new(),
    }
}

fn category_names(category: super::Category) -> [&'static str; 2] {
    match category {
        super::Category::New => ["To Do", "new"],
        super::Category::Indeterminate => ["In Progress", "indeterminate"],
        super::Category::Done => ["Done", "done"],
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
    if let Some((number, unit)) = signed
        .1
        .char_indices()
        .next_back()
        .map(|(at, unit)| (&signed.1[..at], unit))
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
            return Timestamp::now()
                .checked_add(SignedDuration::from_secs(away))
                .map_err(|_| wrong());
        }
    }
    if let Ok(milliseconds) = text.parse() {
        return Timestamp::from_millisecond(milliseconds).map_err(|_| wrong());
    }
    let date = text.replace('/', "-");
    let date = if date.contains(' ') {
        date
    } else {
        format!("{date} 00:00")
    };
    let date = DateTime::strptime("%Y-%m-%d %H:%M", &date).map_err(|_| wrong())?;
    date.to_zoned(TimeZone::UTC)
        .map(|at| at.timestamp())
        .map_err(|_| wrong())
}

fn tokens(jql: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = jql.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '"' || first == '\'' {
            let (text, after) =
                quoted(&rest[1..], first).ok_or("Error in the JQL Query: a quote is not closed.")?;
            tokens.push(Token::Text(text));
            rest = after;
        } else {
            let ends = |c: char| c.is_whitespace() || "=!~<>(),\"'".contains(c);
            let end = rest.find(ends).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!(
                    "Error in the JQL Query: the character '{first}' is not expected."
                ));
            }
            let (word, after) = rest.split_at(end);
            // A function: its name with the brackets.
            let call = after.strip_prefix("()");
            tokens.push(Token::Word(if call.is_some() {
                format!("{word}()")
            } else {
                word.to_owned()
            }));
            rest = call.unwrap_or(after);
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?.1),
            letter if letter == quote => return Some((value, &text[at + quote.len_utf8()..])),
            letter => value.push(letter),
        }
    }
    None
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    fn shown(&self) -> String {
        match self.tokens.get(self.next) {
            None => "the end".to_owned(),
            Some(Token::Word(text) | Token::Text(text)) => text.clone(),
            Some(Token::Sign(sign)) => (*sign).to_owned(),
        }
    }

    fn peek_word(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.next), Some(Token::Word(it)) if it.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.next), Some(Token::Sign(it)) if *it == sign);
        self.next += usize::from(found);
        found
    }

    fn expected(&self, what: &str) -> String {
        format!(
            "Error in the JQL Query: expecting {what} but got '{}'.",
            self.shown()
        )
    }

    fn any(&mut self) -> Result<Condition, String> {
        let mut list = vec![self.all()?];
        while self.word("or") {
            list.push(self.all()?);
        }
        Ok(Condition::Or(list))
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut list = vec![self.one()?];
        while self.word("and") {
            list.push(self.one()?);
        }
        Ok(Condition::And(list))
    }

    fn one(&mut self) -> Result<Condition, String> {
        if self.word("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return if self.sign(")") {
                Ok(inner)
            } else {
                Err(self.expected("')'"))
            };
        }
        let field = self.value()?.to_lowercase();
        if !FIELDS.contains(&&*field) {
            return Err(format!(
                "Field '{field}' does not exist or you do not have permission to view it."
            ));
        }
        let (operator, values) = self.comparison()?;
        Ok(Condition::Clause {
            field,
            operator,
            values,
        })
    }

    fn comparison(&mut self) -> Result<(Operator, Vec<String>), String> {
        use Operator::*;
        for (sign, operator) in [
            ("=", In),
            ("!=", NotIn),
            ("~", Contains),
            ("!~", NotContains),
            (">=", GreaterOrEqual),
            ("<=", LessOrEqual),
            (">", Greater),
            ("<", Less),
        ] {
            if self.sign(sign) {
                return Ok((operator, vec![self.value()?]));
            }
        }
        if self.word("is") {
            let operator = if self.word("not") { NotEmpty } else { Empty };
            let empty = self.word("empty") || self.word("null");
            return if empty {
                Ok((operator, Vec::new()))
            } else {
                Err(self.expected("EMPTY"))
            };
        }
        let operator = if self.word("not") { NotIn } else { In };
        if !self.word("in") || !self.sign("(") {
            return Err(self.expected("an operator"));
        }
        let mut values = vec![self.value()?];
        while self.sign(",") {
            values.push(self.value()?);
        }
        if self.sign(")") {
            Ok((operator, values))
        } else {
            Err(self.expected("')'"))
        }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.tokens.get(self.next) {
            Some(Token::Word(text) | Token::Text(text)) => {
                self.next += 1;
                Ok(text.clone())
            }
            _ => Err(self.expected("a word")),
        }
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, String> {
        if !self.word("order") {
            return Ok(Vec::new());
        }
        if !self.word("by") {
            return Err(self.expected("'by'"));
        }
        let sortable = [
            "updated", "created", "key", "issuekey", "id", "status", "summary", "priority",
        ];
        let mut order = Vec::new();
        loop {
            let field = self.value()?.to_lowercase();
            if !sortable.contains(&&*field) {
                return Err(format!("Not able to sort using field '{field}'."));
            }
            let descending = !self.word("asc") && self.word("desc");
            order.push((field, descending));
            if !self.sign(",") {
                break;
            }
        }
        if order.len() > ORDER_LIMIT {
            Err("More than 7 fields in ORDER BY.".to_owned())
        } else {
            Ok(order)
        }
    }
}
