//! From text to a condition.

use super::{Condition, Operator};

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
                return Err(format!("Error in the JQL Query: the character '{first}' is not expected."));
            }
            let (word, after) = rest.split_at(end);
            // A function: its name with the brackets.
            let call = after.strip_prefix("()");
            tokens.push(Token::Word(if call.is_some() { format!("{word}()") } else { word.to_owned() }));
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

/// Reads tokens from left to right.
pub(super) struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    pub(super) fn new(jql: &str) -> Result<Self, String> {
        Ok(Self { tokens: tokens(jql)?, next: 0 })
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub(super) fn shown(&self) -> String {
        match self.tokens.get(self.next) {
            None => "the end".to_owned(),
            Some(Token::Word(text) | Token::Text(text)) => text.clone(),
            Some(Token::Sign(sign)) => (*sign).to_owned(),
        }
    }

    pub(super) fn peek_word(&self, word: &str) -> bool {
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
        format!("Error in the JQL Query: expecting {what} but got '{}'.", self.shown())
    }

    pub(super) fn any(&mut self) -> Result<Condition, String> {
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
            return if self.sign(")") { Ok(inner) } else { Err(self.expected("')'")) };
        }
        let field = self.value()?.to_lowercase();
        if !FIELDS.contains(&&*field) {
            return Err(format!("Field '{field}' does not exist or you do not have permission to view it."));
        }
        let (operator, values) = self.comparison()?;
        Ok(Condition::Clause { field, operator, values })
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
            return if empty { Ok((operator, Vec::new())) } else { Err(self.expected("EMPTY")) };
        }
        let operator = if self.word("not") { NotIn } else { In };
        if !self.word("in") || !self.sign("(") {
            return Err(self.expected("an operator"));
        }
        let mut values = vec![self.value()?];
        while self.sign(",") {
            values.push(self.value()?);
        }
        if self.sign(")") { Ok((operator, values)) } else { Err(self.expected("')'")) }
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

    pub(super) fn order(&mut self) -> Result<Vec<(String, bool)>, String> {
        if !self.word("order") {
            return Ok(Vec::new());
        }
        if !self.word("by") {
            return Err(self.expected("'by'"));
        }
        let sortable = ["updated", "created", "key", "issuekey", "id", "status", "summary", "priority"];
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
        if order.len() > ORDER_LIMIT { Err("More than 7 fields in ORDER BY.".to_owned()) } else { Ok(order) }
    }
}
