//! Choices, texts and JSON from random bytes. When the bytes run out, the first choice is made.

use arbitrary::Unstructured;
use serde_json::{Map, Value, json};

/// A number below `end`; 0 when there is none.
pub fn below(source: &mut Unstructured<'_>, end: usize) -> usize {
    if end == 0 { 0 } else { source.int_in_range(0..=end - 1).unwrap_or(0) }
}

/// One of these.
pub fn pick<'a, T: ?Sized>(source: &mut Unstructured<'_>, choices: &[&'a T]) -> &'a T {
    choices[below(source, choices.len())]
}

/// True once in `times`.
pub fn once_in(source: &mut Unstructured<'_>, times: usize) -> bool {
    !source.is_empty() && below(source, times) == times - 1
}

/// A number that is often at an edge.
pub fn number(source: &mut Unstructured<'_>) -> Value {
    match below(source, 10) {
        0 => json!(0),
        1 => json!(1),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(1e308),
        6 => json!(0.1),
        7 => json!(source.arbitrary::<i64>().unwrap_or(7)),
        8 => json!(source.arbitrary::<u64>().unwrap_or(7)),
        _ => json!(below(source, 100)),
    }
}

/// Pieces that have meant trouble somewhere.
const NASTY: &[&str] = &[
    " ",
    "\n",
    "\r\n",
    "\t",
    "a",
    "word",
    "ä",
    "😀",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "\u{0}",
    "\u{7f}",
    "\u{e0041}",
    "İ",
    "ß",
    "`",
    "```",
    "**",
    "*",
    "_",
    "~~",
    "[",
    "](",
    ")",
    "!",
    "<",
    ">",
    "&amp;",
    "<!--",
    "-->",
    "\\",
    "\"",
    "'",
    "#",
    "@",
    "://",
    "https://a.example/x",
    "/",
    "..",
    ".git",
    "-",
    "0",
    "9",
    "|",
    "{",
    "}",
    ":",
    "=",
    "PROJ-1",
    "acme/shop#12",
    "2026-01-30T12:00:00Z",
    "<data-1>",
    "</data-2>",
    "jira-agent:",
    "\u{301}",
    "\u{fe0f}",
];

/// A text of at most `most` pieces.
pub fn text(source: &mut Unstructured<'_>, most: usize) -> String {
    let mut text = String::new();
    for _ in 0..below(source, most + 1) {
        if once_in(source, 8) {
            text.push(source.arbitrary().unwrap_or('x'));
        } else {
            text.push_str(pick(source, NASTY));
        }
        if once_in(source, 64) {
            text = text.repeat(1 + below(source, 200).min(4_000 / (text.len() + 1)));
        }
    }
    text
}

/// Any JSON.
pub fn any_json(source: &mut Unstructured<'_>, depth: usize) -> Value {
    match below(source, if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(source.arbitrary::<bool>().unwrap_or_default()),
        2 => number(source),
        3 => json!(""),
        4 | 5 => json!(text(source, 6)),
        6 | 7 => (0..below(source, 4)).map(|_| any_json(source, depth - 1)).collect(),
        _ => {
            let mut fields = Map::new();
            for _ in 0..below(source, 4) {
                fields.insert(text(source, 2), any_json(source, depth - 1));
            }
            Value::Object(fields)
        }
    }
}

/// The document with up to three of its values replaced, removed, wrapped or moved elsewhere.
pub fn altered(source: &mut Unstructured<'_>, mut document: Value) -> Value {
    for _ in 0..below(source, 4) {
        let depth = 1 + below(source, 6);
        alter(source, &mut document, depth);
    }
    document
}

fn alter(source: &mut Unstructured<'_>, value: &mut Value, depth: usize) {
    match value {
        Value::Object(fields) if depth > 0 && !fields.is_empty() => {
            let at = below(source, fields.len());
            let Some(name) = fields.keys().nth(at).cloned() else { return };
            match below(source, 8) {
                0 => drop(fields.remove(&name)),
                1 => {
                    let moved = fields.remove(&name).unwrap_or_default();
                    fields.insert(text(source, 2), moved);
                }
                _ => alter(source, &mut fields[&name], depth - 1),
            }
        }
        Value::Array(values) if depth > 0 && !values.is_empty() => {
            let at = below(source, values.len());
            match below(source, 8) {
                0 => drop(values.remove(at)),
                1 => values.push(values[at].clone()),
                _ => alter(source, &mut values[at], depth - 1),
            }
        }
        value => {
            *value = match below(source, 4) {
                0 => json!([value.take()]),
                1 => json!({text(source, 1): value.take()}),
                _ => any_json(source, 3),
            }
        }
    }
}

/// The text with up to eight places damaged: cut out, said twice, flipped, or with something strange put in.
pub fn damaged(source: &mut Unstructured<'_>, mut input: Vec<u8>) -> Vec<u8> {
    for _ in 0..=below(source, 8) {
        let from = below(source, input.len() + 1);
        let to = (from + below(source, 20)).min(input.len());
        match below(source, 6) {
            0 => drop(input.drain(from..to)),
            1 => {
                let again = input[from..to].to_vec();
                input.splice(to..to, again);
            }
            2 => {
                let piece = pick(source, NASTY);
                input.splice(from..from, piece.bytes());
            }
            3 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= 1 << below(source, 8);
                }
            }
            4 => input.truncate(from.max(input.len() / 2)),
            _ => input.insert(from, source.arbitrary().unwrap_or(b'x')),
        }
    }
    input
}

/// Whether a number in it may change a little each time it is written and read.
pub fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}
