//! One pass over a file's text: which of the query's words it has, how often, and which it defines.

use std::collections::BTreeSet;

use super::words::{Vocabulary, for_each_run};

/// What a pass found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scan {
    /// How many words the text has.
    pub(super) length: u32,
    /// For each word of the query that occurs, how much: a definition counts three times.
    pub(super) counts: Vec<(u16, f32)>,
    /// Whether an identifier that the ticket names is defined here.
    pub(super) defines: bool,
}

/// Looks through a text.
pub(super) fn scan(text: &[u8], vocabulary: &Vocabulary, identifiers: &BTreeSet<String>) -> Scan {
    let mut found = vec![0.0_f32; vocabulary.weights.len()];
    let mut scan = Scan::default();
    let mut previous: (usize, &[u8]) = (0, b"");
    let mut numbers = Vec::new();
    for_each_run(text, |at, run| {
        numbers.clear();
        scan.length += vocabulary.look_up(run, |number| numbers.push(number));
        if !numbers.is_empty() {
            let defines = is_definition(text, previous, at, run);
            let amount = if defines { 3.0 } else { 1.0 };
            for number in &numbers {
                if let Some(count) = found.get_mut(usize::from(*number)) {
                    *count += amount;
                }
            }
            if defines && !scan.defines {
                scan.defines = std::str::from_utf8(run).is_ok_and(|run| identifiers.contains(run));
            }
        }
        previous = (at, run);
    });
    scan.counts = (0..).zip(found).filter(|(_, count)| *count > 0.0).collect();
    scan
}

/// Whether an identifier is defined where it stands: after a keyword (`fn total`), after a type and before a
/// parenthesis (`int total(`), or after a receiver (`func (c *Cart) Total(`).
fn is_definition(text: &[u8], previous: (usize, &[u8]), at: usize, run: &[u8]) -> bool {
    let (before_at, before) = previous;
    let between = text.get(before_at + before.len()..at).unwrap_or_default();
    if between.is_empty() || between.len() > 4 || between.contains(&b'\n') {
        return false;
    }
    let is_blank = between.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    if is_blank && DEFINING.contains(&before) {
        return true;
    }
    let is_called = text.get(at + run.len()) == Some(&b'(');
    let after_type = is_blank || matches!(between, b") " | b"> " | b"* " | b" *" | b"] " | b" &" | b"? ");
    is_called && after_type && !NO_TYPES.contains(&before)
}

const DEFINING: [&[u8]; 27] = [
    b"fn",
    b"def",
    b"class",
    b"func",
    b"function",
    b"struct",
    b"enum",
    b"trait",
    b"interface",
    b"type",
    b"module",
    b"const",
    b"let",
    b"var",
    b"impl",
    b"protocol",
    b"object",
    b"record",
    b"val",
    b"define",
    b"namespace",
    b"package",
    b"mod",
    b"static",
    b"union",
    b"fun",
    b"sub",
];

const NO_TYPES: [&[u8]; 24] = [
    b"return", b"new", b"await", b"else", b"throw", b"case", b"in", b"not", b"and", b"or", b"if", b"while",
    b"for", b"yield", b"raise", b"print", b"puts", b"echo", b"go", b"defer", b"assert", b"do", b"when",
    b"is",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_told_from_uses() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("cartTotal", 1.0);
        let identifiers = BTreeSet::from(["cartTotal".to_owned()]);
        for text in [
            "fn cartTotal() {",
            "def cartTotal(self):",
            "const cartTotal = 1",
            "  public int cartTotal(int a) {",
            "func (c *Cart) cartTotal() int {",
            "List<Item> cartTotal()",
            "class cartTotal:",
        ] {
            assert!(scan(text.as_bytes(), &vocabulary, &identifiers).defines, "{text}");
        }
        for text in
            ["return cartTotal(a)", "a.cartTotal()", "x = cartTotal", "if (cartTotal(1))", "fn\ncartTotal"]
        {
            assert!(!scan(text.as_bytes(), &vocabulary, &identifiers).defines, "{text}");
        }
    }

    #[test]
    fn words_are_counted() {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add("cart", 1.0);
        let scan = scan(b"let cart = cart.cart_size(x);", &vocabulary, &BTreeSet::new());
        assert_eq!((scan.length, scan.counts), (6, vec![(0, 5.0)]));
    }
}
