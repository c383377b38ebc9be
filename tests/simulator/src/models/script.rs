//! Which reply answers which prompt: the first rule that fits. A prompt that lacks the lines a fix needs gets none.

use regex::Regex;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::reply::{Compute, Reply, StopReason};

/// All rules, in order.
#[derive(Debug, Clone, Default)]
pub struct ModelScript {
    /// The rules; the first that fits answers.
    pub rules: Vec<Rule>,
    /// The last reply paused.
    paused: bool,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    name: String,
    when: Vec<Regex>,
    unless: Vec<Regex>,
    times: Option<u32>,
    used: u32,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum Answer {
    Fixed(Box<Reply>),
    Computed(Compute),
}

/// What the script says to a prompt.
pub(super) enum Choice {
    Found(String, Reply),
    /// Why no rule fits, in words.
    None(String),
}

impl Rule {
    /// A rule for every prompt in which `when` is found.
    ///
    /// # Errors
    /// When `when` is not a regular expression.
    pub fn new(when: &str, reply: Reply) -> Result<Self, regex::Error> {
        Self::with(when, Answer::Fixed(Box::new(reply)))
    }

    /// A rule whose reply is computed from the prompt.
    ///
    /// # Errors
    /// When `when` is not a regular expression.
    pub fn computed(
        when: &str,
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Result<Self, regex::Error> {
        Self::with(when, Answer::Computed(Compute::new(reply)))
    }

    fn with(when: &str, answer: Answer) -> Result<Self, regex::Error> {
        let (name, when) = (when.to_owned(), vec![Regex::new(when)?]);
        Ok(Self { name, when, unless: Vec::new(), times: None, used: 0, answer })
    }

    /// The same under a name of its own instead of its expression.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The prompt must hold this too.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn and(mut self, when: &str) -> Result<Self, regex::Error> {
        self.when.push(Regex::new(when)?);
        Ok(self)
    }

    /// The prompt must not hold this.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn unless(mut self, unless: &str) -> Result<Self, regex::Error> {
        self.unless.push(Regex::new(unless)?);
        Ok(self)
    }

    /// It answers at most so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Why it does not fit; `None` when it does.
    fn refuses(&self, prompt: &str) -> Option<String> {
        if self.times.is_some_and(|times| self.used >= times) {
            return Some(format!("rule '{}' is used up", self.name));
        }
        let missing = self.when.iter().find(|when| !when.is_match(prompt));
        let forbidden = self.unless.iter().find(|unless| unless.is_match(prompt));
        match (missing, forbidden) {
            (Some(when), _) => Some(format!("rule '{}' misses /{when}/", self.name)),
            (None, Some(unless)) => Some(format!("rule '{}' will not have /{unless}/", self.name)),
            (None, None) => None,
        }
    }
}

impl ModelScript {
    /// These rules, in order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, paused: false }
    }

    /// Whether the last reply wants to be sent back as it is.
    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    pub(super) fn choose(&mut self, prompt: &str) -> Choice {
        let mut reasons = Vec::new();
        for rule in &mut self.rules {
            if let Some(reason) = rule.refuses(prompt) {
                reasons.push(reason);
                continue;
            }
            rule.used += 1;
            let reply = match &rule.answer {
                Answer::Fixed(reply) => (**reply).clone(),
                Answer::Computed(compute) => compute.run(prompt),
            };
            self.paused = reply.stop_reason == StopReason::PauseTurn;
            return Choice::Found(rule.name.clone(), reply);
        }
        let none = "there is no rule".to_owned();
        Choice::None(if reasons.is_empty() { none } else { reasons.join("; ") })
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        let mut shown = target.serialize_struct("Rule", 3)?;
        shown.serialize_field("name", &self.name)?;
        shown.serialize_field("times", &self.times)?;
        shown.serialize_field("used", &self.used)?;
        shown.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(script: &mut ModelScript, prompt: &str) -> Result<String, String> {
        match script.choose(prompt) {
            Choice::Found(_, reply) => Ok(reply.text),
            Choice::None(reason) => Err(reason),
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers_and_can_be_used_up() {
        let first =
            Rule::new("cart", Reply::text("one")).unwrap().and("total").unwrap().unless("secret").unwrap();
        let second = Rule::computed("cart", |prompt| Reply::text(prompt.to_uppercase())).unwrap();
        let mut script = ModelScript::new(vec![first.times(1), second]);
        assert_eq!(reply(&mut script, "cart secret total").unwrap(), "CART SECRET TOTAL");
        assert_eq!(reply(&mut script, "cart total").unwrap(), "one");
        assert_eq!(reply(&mut script, "cart total").unwrap(), "CART TOTAL");
        let reason = reply(&mut script, "total").unwrap_err();
        assert_eq!(reason, "rule 'cart' is used up; rule 'cart' misses /cart/");
    }
}
