//! Words of text and code: `calculateTotal`, `calculate_total` and "calculating totals" have the same.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The longest word that is looked at, in bytes.
const LONGEST: usize = 64;

/// Calls `visit` with every identifier or word of the text, and where it starts.
pub(super) fn for_each_run<'a>(text: &'a [u8], mut visit: impl FnMut(usize, &'a [u8])) {
    let mut start = None;
    for (at, byte) in text.iter().enumerate() {
        match (is_word_byte(*byte), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                visit(from, text.get(from..at).unwrap_or_default());
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        visit(from, text.get(from..).unwrap_or_default());
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Calls `visit` with every part of an identifier: `HTTPServer_v2` has `HTTP`, `Server` and `v2`.
pub(super) fn for_each_part<'a>(run: &'a [u8], mut visit: impl FnMut(&'a [u8])) {
    let mut from = 0;
    for (at, pair) in run.windows(2).enumerate() {
        let &[left, right] = pair else { continue };
        let third = run.get(at + 2).copied().unwrap_or(b'_');
        let is_hump = !left.is_ascii_uppercase() && right.is_ascii_uppercase();
        let ends_acronym =
            left.is_ascii_uppercase() && right.is_ascii_uppercase() && third.is_ascii_lowercase();
        if left == b'_' || right == b'_' || is_hump || ends_acronym {
            emit(run, from, at + 1, &mut visit);
            from = at + 1;
        }
    }
    emit(run, from, run.len(), &mut visit);
}

fn emit<'a>(run: &'a [u8], from: usize, to: usize, visit: &mut impl FnMut(&'a [u8])) {
    if let Some(part) = run.get(from..to).filter(|part| part.iter().any(|byte| *byte != b'_')) {
        visit(part);
    }
}

/// The length of a lower-case word without its ending. Light: it need not be right, only the same on both sides.
fn stem(word: &[u8]) -> usize {
    let mut length = word.len();
    if length < 4 || !word.iter().all(u8::is_ascii_lowercase) {
        return length;
    }
    let ends = |length: usize, ending: &[u8]| word.get(..length).is_some_and(|word| word.ends_with(ending));
    if ends(length, b"sses") || ends(length, b"ies") {
        length -= 2;
    } else if ends(length, b"s") && !ends(length, b"ss") && !ends(length, b"us") && !ends(length, b"is") {
        length -= 1;
    }
    for ending in [&b"ing"[..], b"ed", b"er"] {
        if ends(length, ending) && length >= ending.len() + 3 {
            length -= ending.len();
            let last = length.checked_sub(1).and_then(|at| word.get(at));
            if length > 3 && last.is_some() && last == word.get(length - 2) {
                length -= 1;
            }
            break;
        }
    }
    if length > 3 && (ends(length, b"e") || ends(length, b"y") || ends(length, b"i")) {
        length -= 1;
    }
    length
}

/// The words of a query, each with a number and a weight.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    words: HashMap<Vec<u8>, u16>,
    /// Whole identifiers of several parts, in lower case without `_`.
    compounds: HashMap<Vec<u8>, u16>,
    /// One bit for each beginning of three letters that occurs, so that most words are passed over at once.
    beginnings: Vec<bool>,
    /// How much each word counts.
    pub(super) weights: Vec<f32>,
}

/// The most words of a query.
const MOST_WORDS: usize = 400;

impl Vocabulary {
    /// Adds the words of a text that mean something.
    pub(super) fn add(&mut self, text: &str, weight: f32) {
        if self.beginnings.is_empty() {
            self.beginnings = vec![false; 1 << 15];
        }
        for_each_run(text.as_bytes(), |_, run| {
            let mut parts = 0;
            for_each_part(run, |part| {
                parts += 1;
                let word: Vec<u8> = part.to_ascii_lowercase();
                if is_telling(&word) {
                    self.insert(&word, weight, false);
                }
            });
            if parts > 1 {
                self.insert(&joined(run), weight * 1.5, true);
            }
        });
    }

    fn insert(&mut self, word: &[u8], weight: f32, compound: bool) {
        if word.len() > LONGEST {
            return;
        }
        let key = if compound { word } else { word.get(..stem(word)).unwrap_or(word) };
        let map = if compound { &mut self.compounds } else { &mut self.words };
        if let Some(number) = map.get(key) {
            if let Some(known) = self.weights.get_mut(usize::from(*number)) {
                *known = known.max(weight) + 0.1 * weight;
            }
            return;
        }
        let Ok(number) = u16::try_from(self.weights.len()) else {
            return;
        };
        if self.weights.len() >= MOST_WORDS {
            return;
        }
        map.insert(key.to_vec(), number);
        self.weights.push(weight);
        if let Some(bit) = self.beginnings.get_mut(beginning(word)) {
            *bit = true;
        }
    }

    /// Calls `hit` with the number of every word of the query that an identifier holds; returns how many words it has.
    pub(super) fn look_up(&self, run: &[u8], mut hit: impl FnMut(u16)) -> u32 {
        let mut parts = 0;
        let mut buffer = [0; LONGEST];
        for_each_part(run, |part| {
            parts += 1;
            if !self.may_begin(part) {
                return;
            }
            let Some(word) = lowered(part, &mut buffer) else {
                return;
            };
            if let Some(number) = word.get(..stem(word)).and_then(|stem| self.words.get(stem)) {
                hit(*number);
            }
        });
        if !self.compounds.is_empty()
            && self.may_begin(run)
            && run.len() <= LONGEST
            && let Some(number) = self.compounds.get(&joined(run))
        {
            hit(*number);
        }
        parts
    }

    fn may_begin(&self, word: &[u8]) -> bool {
        self.beginnings.get(beginning(word)).copied().unwrap_or(false)
    }
}

fn joined(run: &[u8]) -> Vec<u8> {
    run.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase).collect()
}

fn lowered<'a>(part: &[u8], buffer: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    let target = buffer.get_mut(..part.len())?;
    target.copy_from_slice(part);
    target.make_ascii_lowercase();
    Some(target)
}

/// A number for the first three characters that are no `_`, the same for small and capital letters.
fn beginning(word: &[u8]) -> usize {
    let mut letters = word.iter().filter(|byte| **byte != b'_').map(|byte| usize::from(byte & 31));
    let mut next = || letters.next().unwrap_or(0);
    (next() << 10) | (next() << 5) | next()
}

/// Whether a lower-case word says something about what a ticket is about.
pub(super) fn is_telling(word: &[u8]) -> bool {
    let is_number = word.iter().all(u8::is_ascii_digit);
    let enough = if is_number { 3 } else { 2 };
    word.len() >= enough && std::str::from_utf8(word).is_ok_and(|word| !STOP_WORDS.contains(word))
}

/// Words of English and of code that are everywhere.
static STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "about above actual actually after again all also always am an and any are as at be because been before \
     being below between bool both bug but by can cannot case change class const could currently def did do \
     does doing don down during each either else enum etc every expected false few file files fix fn for from \
     func function further get gets give given had happen happens has have having he her here how however \
     http https if im impl implement in instead int into is isn issue it its just let like line ll make many \
     may me might more most must my need needs new no nor not now null of off on once only or other our out \
     over own please private problem public re return returns same see self set shall she should show so some \
     static still string struct such than that the their them then there these they this those through to too \
     true under until up us use used using var ve very void want was way we were what when where which while \
     who why will with won would you your"
        .split_whitespace()
        .collect()
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(run: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_part(run.as_bytes(), |part| {
            found.push(String::from_utf8_lossy(part).into_owned());
        });
        found
    }

    fn hits(query: &str, run: &str) -> usize {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add(query, 1.0);
        let mut count = 0;
        vocabulary.look_up(run.as_bytes(), |_| count += 1);
        count
    }

    #[test]
    fn identifiers_fall_into_their_parts() {
        assert_eq!(parts("calculateTotal"), ["calculate", "Total"]);
        assert_eq!(parts("HTTPServer_v2"), ["HTTP", "Server", "v2"]);
        assert_eq!(parts("__init__"), ["init"]);
        assert_eq!(parts("MAX_SIZE"), ["MAX", "SIZE"]);
        assert_eq!(parts("_"), Vec::<String>::new());
    }

    #[test]
    fn the_same_word_in_another_form_is_found() {
        for (query, run) in [
            ("calculating totals", "calculate_total"),
            ("categories", "category"),
            ("shipped orders", "ShipOrder"),
            ("retries", "retry"),
            ("parser", "parse"),
            ("addresses", "address"),
        ] {
            assert_eq!(hits(query, run), query.split(' ').count(), "{query}");
        }
        assert_eq!(hits("calculateTotal", "calculate_total"), 3);
        assert_eq!(hits("the class should be", "the_class"), 0);
    }

    proptest! {
        #[test]
        fn any_text_falls_into_words_without_panic(query in ".*", text in ".*") {
            let mut vocabulary = Vocabulary::default();
            vocabulary.add(&query, 1.0);
            for_each_run(text.as_bytes(), |_, run| { vocabulary.look_up(run, |_| {}); });
        }
    }
}
