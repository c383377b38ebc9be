//! What is wrong in a file of any language.

use super::SyntaxError;
use crate::marks::{is_conflict_marker, is_fence, is_prose};

/// Conflict markers anywhere, and fences on the first or last line of what is no prose.
pub(super) fn errors(path: &str, bytes: &[u8]) -> Vec<SyntaxError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Vec::new();
    };
    let error = |(number, line): (usize, &str), what: &str| SyntaxError {
        line: number + 1,
        column: 1,
        what: what.to_owned(),
        excerpt: line.trim().chars().take(120).collect(),
    };
    let mut errors: Vec<_> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| is_conflict_marker(line))
        .map(|line| error(line, "a conflict marker was left in the file"))
        .collect();
    if !is_prose(path) {
        let seen = || text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (first, last) = (seen().next(), seen().last());
        let last = last.filter(|last| Some(last.0) != first.map(|first| first.0));
        let edges = [first, last].into_iter().flatten().filter(|(_, line)| is_fence(line));
        errors.extend(edges.map(|line| error(line, "a fence was left in the file")));
    }
    errors
}
