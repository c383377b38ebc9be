//! Hides secrets in texts: log lines before they are written, and a last look at texts that leave the process.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::Regex;
use url::Url;

use crate::secret::Secret;

/// What stands where a secret stood.
pub const MASK: &str = "***";

/// Shorter secrets, in characters, are not hidden: they would garble every text and protect nothing.
pub const SHORTEST_SECRET: usize = 4;

/// Shorter pieces of Base64, in characters, are part of too many harmless texts.
const SHORTEST_BASE64_PIECE: usize = 10;

/// Replaces secrets by `***`: every secret it was given, as it is and in the forms it takes in URLs, headers, JSON
/// and Base64, and whatever has the shape of a well-known token. Clones share their secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<Known>>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.read().forms.len()).finish()
    }
}

impl Redactor {
    /// A redactor that knows these secrets. Those shorter than [`SHORTEST_SECRET`] are ignored.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut known = Known::default();
        known.learn(secrets);
        Self { known: Arc::new(RwLock::new(known)) }
    }

    /// Learns a secret that came up at run time, e.g. a token made for one run.
    pub fn add(&self, secret: Secret) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).learn([secret]);
    }

    /// The text without secrets. Allocates only when there is something to hide.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.read();
        let mut ranges = known.find(text);
        for pattern in TELLING.iter().chain(LIKELY.iter()) {
            find_pattern(pattern, text, &mut ranges);
        }
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut clean = mask(text, ranges);
        // What was left and right of a mask can be a secret together with it. Each turn makes the text shorter.
        loop {
            let ranges = known.find(&clean);
            if ranges.is_empty() {
                return Cow::Owned(clean);
            }
            clean = mask(&clean, ranges);
        }
    }

    /// Whether a text that is about to leave holds a secret: a known one in any form, or a token whose shape says
    /// whose it is. Shapes that code and documentation hold for good reasons (a user in a URL, an `Authorization`
    /// line) do not count.
    #[must_use]
    pub fn contains_secret(&self, text: &str) -> bool {
        self.read().automaton.as_ref().is_some_and(|known| known.is_match(text))
            || TELLING.iter().any(|pattern| pattern.is_match(text))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secrets in all their forms.
#[derive(Default)]
struct Known {
    forms: BTreeSet<String>,
    automaton: Option<AhoCorasick>,
}

impl Known {
    fn learn(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        for secret in secrets {
            if secret.expose().chars().count() >= SHORTEST_SECRET {
                self.forms.extend(forms(secret.expose()));
            }
        }
        // Building fails only beyond sizes that no set of secrets has; what was known then stays known.
        if let Ok(automaton) = AhoCorasick::new(&self.forms) {
            self.automaton = Some(automaton);
        }
    }

    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        automaton.find_overlapping_iter(text).map(|found| found.range()).collect()
    }
}

/// How a secret looks in the places that it may get into.
fn forms(secret: &str) -> Vec<String> {
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let percent = utf8_percent_encode(secret, UNRESERVED).to_string();
    let mut forms = vec![
        secret.to_owned(),
        lower_hex(&percent),
        percent,
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        secret.escape_debug().to_string(),
        serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD_NO_PAD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
    ];
    forms.extend(in_user_info(secret));
    forms.extend((0..3).flat_map(|before| inside_base64(secret, before)));
    forms.retain(|form| form.chars().count() >= SHORTEST_SECRET);
    forms
}

/// `%2F` as `%2f`; the rest as it is.
fn lower_hex(percent: &str) -> String {
    let mut after = usize::MAX;
    let lower = |c: char| {
        after = if c == '%' { 0 } else { after.saturating_add(1) };
        if (1..=2).contains(&after) { c.to_ascii_lowercase() } else { c }
    };
    percent.chars().map(lower).collect()
}

/// The password as an address shows it.
fn in_user_info(secret: &str) -> Option<String> {
    let mut url = Url::parse("http://user@host").ok()?;
    url.set_password(Some(secret)).ok()?;
    url.password().map(str::to_owned)
}

/// The characters of Base64 that depend on the secret alone when `before` bytes (modulo 3) stand before it, as in
/// the `user:token` of a Basic header.
fn inside_base64(secret: &str, before: usize) -> Vec<String> {
    let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
    let pure = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    let engines = [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD];
    let encoded = engines.map(|engine| engine.encode(&bytes));
    let pieces = encoded.iter().filter_map(|text| text.get(pure.clone()));
    pieces.filter(|piece| piece.len() >= SHORTEST_BASE64_PIECE).map(str::to_owned).collect()
}

/// Tokens whose shape says whose they are.
static TELLING: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&TELLING_PATTERNS));

/// Shapes that are secrets in a log line, but may be innocent in a text.
static LIKELY: LazyLock<Vec<Regex>> = LazyLock::new(|| compile(&LIKELY_PATTERNS));

const TELLING_PATTERNS: [&str; 2] = [
    // GitHub (classic, fine-grained, installation), Anthropic, Atlassian, Slack, AWS.
    concat!(
        r"gh[pousr]_[A-Za-z0-9._-]{20,}|github_pat_[A-Za-z0-9_]{20,}|sk-ant-[A-Za-z0-9_-]{16,}",
        r"|ATATT[A-Za-z0-9+/=_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    ),
    // A private key, also one that lost its end; never past the end of a JSON string.
    concat!(
        r#"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"]*?-----END [A-Z ]*PRIVATE KEY-----"#,
        r"|[A-Za-z0-9+/=\s\\]*)",
    ),
];

/// Where there is a group, it alone is hidden.
const LIKELY_PATTERNS: [&str; 5] = [
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    concat!(
        r#"(?i)\b(?:authorization|x-api-key|private-token)[\\"']*\s*[:=]\s*[\\"']*"#,
        r#"(?:(?:bearer|basic|token)\s+)?([^\s\\"',;]+)"#,
    ),
    r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{20,})",
    r#"://([^\s/\\"'<>]+)@"#,
];

fn compile(patterns: &[&str]) -> Vec<Regex> {
    // A test holds that every pattern compiles.
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
}

fn find_pattern(pattern: &Regex, text: &str, ranges: &mut Vec<Range<usize>>) {
    if !pattern.is_match(text) {
        return;
    }
    for captures in pattern.captures_iter(text) {
        let hidden = captures.iter().flatten().last();
        ranges.extend(hidden.filter(|found| found.as_str() != MASK).map(|found| found.range()));
    }
}

/// The text with each of the ranges, which may overlap, replaced by the mask.
fn mask(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    let mut ranges = ranges.into_iter().peekable();
    while let Some(mut range) = ranges.next() {
        while let Some(next) = ranges.next_if(|next| next.start <= range.end) {
            range.end = range.end.max(next.end);
        }
        clean.push_str(&text[done..range.start]);
        clean.push_str(MASK);
        done = range.end;
    }
    clean.push_str(&text[done..]);
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn knowing(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| Secret::new(*secret)))
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(TELLING.len(), TELLING_PATTERNS.len());
        assert_eq!(LIKELY.len(), LIKELY_PATTERNS.len());
    }

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        let redactor = knowing(&["correct horse"]);
        for text in
            ["", "plain", "risk-assessment-of-the-whole-shop", "basic authentication", "https://host/@user"]
        {
            assert!(matches!(redactor.redact(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn known_secrets_are_hidden_in_all_their_forms() {
        let redactor = knowing(&["p/ss w\"rd\nÄ+~"]);
        let texts = [
            "x p/ss w\"rd\nÄ+~ y",
            "p%2Fss%20w%22rd%0A%C3%84%2B~",
            "p%2fss%20w%22rd%0a%c3%84%2b~",
            "p%2Fss+w%22rd%0A%C3%84%2B%7E",
            r#"{"a":"p/ss w\"rd\nÄ+~"}"#,
        ];
        for text in texts {
            let clean = redactor.redact(text);
            assert!(clean.contains(MASK) && !clean.contains("ss"), "{text} became {clean}");
        }
        for user in ["", "a", "ab", "agent@acme.example:"] {
            let header = BASE64_STANDARD.encode(format!("{user}p/ss w\"rd\nÄ+~"));
            assert!(redactor.redact(&header).contains(MASK), "{header}");
            assert!(redactor.contains_secret(&header));
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_piece() {
        assert_eq!(knowing(&["abcdef", "defghi"]).redact("-abcdefghi-"), "-***-");
    }

    #[test]
    fn a_mask_does_not_make_a_secret_whole() {
        let redactor = knowing(&["ab***cd", "secret"]);
        assert_eq!(redactor.redact("absecretcd"), "***");
    }

    #[test]
    fn secrets_of_three_letters_are_ignored() {
        assert_eq!(knowing(&["abc", ""]).redact("abc"), "abc");
    }

    #[test]
    fn a_secret_can_be_learned_later_and_by_all_clones() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        assert!(!clone.contains_secret("late-secret"));
        redactor.add(Secret::new("late-secret"));
        assert_eq!(clone.redact("a late-secret b"), "a *** b");
        assert!(clone.contains_secret("late-secret"));
    }

    #[test]
    fn well_known_shapes_are_hidden() {
        let redactor = Redactor::default();
        let a = "a1B2".repeat(9);
        let cases = [
            (format!("token ghp_{a}."), "token ***".to_owned()),
            (format!("ghs_123456_eyJ{a}.eyJ{a}.{a} next"), "*** next".to_owned()),
            (format!("github_pat_11AAA_{a}, x"), "***, x".to_owned()),
            (format!("key=sk-ant-api03-{a}"), "key=***".to_owned()),
            (format!("key=sk-proj-{a}"), "key=***".to_owned()),
            (format!("ATATT3xFf{a}=1234ABCD"), "***".to_owned()),
            (format!("xoxb-{a}"), "***".to_owned()),
            ("AKIAIOSFODNN7EXAMPLE!".to_owned(), "***!".to_owned()),
            (format!("eyJ{a}.eyJ{a}.{a}"), "***".to_owned()),
            (format!("Authorization: Bearer {a}"), "Authorization: Bearer ***".to_owned()),
            (r#"{"authorization":"Basic dTpw"}"#.to_owned(), r#"{"authorization":"Basic ***"}"#.to_owned()),
            ("x-api-key: abc".to_owned(), "x-api-key: ***".to_owned()),
            ("amqp://guest:guest@host/%2f".to_owned(), "amqp://***@host/%2f".to_owned()),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx".to_owned(),
                "***\nx".to_owned(),
            ),
            (r#"{"k":"-----BEGIN PRIVATE KEY-----\nMIIE"}"#.to_owned(), r#"{"k":"***"}"#.to_owned()),
        ];
        for (text, clean) in cases {
            assert_eq!(redactor.redact(&text), clean);
            assert_eq!(redactor.redact(&clean), clean, "hiding twice changes nothing");
        }
    }

    #[test]
    fn code_that_speaks_of_credentials_may_leave() {
        let redactor = Redactor::default();
        for text in ["Authorization: Bearer {token}", "https://user:password@host/", "let key = \"sk-…\";"]
        {
            assert!(!redactor.contains_secret(text), "{text}");
        }
        assert!(redactor.contains_secret("AKIAIOSFODNN7EXAMPLE"));
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", knowing(&["correct horse"])).contains("horse"));
    }

    proptest! {
        #[test]
        fn no_known_secret_survives_whatever_is_around_it(
            secrets in prop::collection::vec("[ -~\\n*äß]{4,12}", 1..4),
            around in prop::collection::vec("[ -~\\n*ä]{0,12}", 4),
        ) {
            let redactor = Redactor::new(secrets.iter().map(|secret| Secret::new(secret.as_str())));
            let mut text = around[3].clone();
            for (secret, before) in secrets.iter().zip(&around) {
                text.push_str(before);
                text.push_str(secret);
            }
            let clean = redactor.redact(&text);
            for secret in &secrets {
                prop_assert!(!clean.contains(secret.as_str()), "{clean:?} holds {secret:?}");
            }
            prop_assert!(!redactor.contains_secret(&clean) || TELLING.iter().any(|p| p.is_match(&clean)));
        }

        #[test]
        fn no_form_of_a_secret_survives(secret in "[ -~ä\\n]{8,20}", user in "[a-z]{0,5}") {
            let redactor = knowing(&[&secret]);
            let header = BASE64_STANDARD.encode(format!("{user}:{secret}"));
            prop_assert!(redactor.contains_secret(&header));
            for form in forms(&secret) {
                let text = format!("{user}{form}{user}");
                prop_assert!(!redactor.redact(&text).contains(&form));
            }
        }
    }
}
