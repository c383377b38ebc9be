//! The real lines nearest to a SEARCH that was not found, so that the model can copy them.

use std::cell::Cell;
use std::collections::HashMap;

use super::lines::{Line, is_blank};

/// Some lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The first line's number, from 1.
    pub(super) first_line: usize,
    pub(super) lines: Vec<String>,
}

/// How many lines of a SEARCH are compared, and shown.
const COMPARED: usize = 60;
/// A window less alike than this is not worth showing.
const LEAST_LIKENESS: f32 = 0.4;
/// How many comparisons of lines are made at most for all blocks of a reply.
const MOST_COMPARISONS: usize = 1_500_000;

/// What may be spent on help, in comparisons of lines: a reply of a thousand blocks that fit nowhere must not cost a
/// thousand searches.
#[derive(Debug)]
pub(super) struct Effort {
    left: Cell<usize>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: Cell::new(MOST_COMPARISONS) }
    }
}

impl Effort {
    /// Whether there was so much left, which is spent now.
    pub(super) fn spend(&self, comparisons: usize) -> bool {
        let left = self.left.get().checked_sub(comparisons);
        self.left.set(left.unwrap_or(self.left.get()));
        left.is_some()
    }
}

/// The window of the file that is most like these lines, with two lines around it.
pub(super) fn nearest(file: &[Line], search: &[String], effort: &Effort) -> Option<Excerpt> {
    let first_seen = search.iter().position(|line| !is_blank(line))?;
    let search: Vec<_> = search.iter().skip(first_seen).take(COMPARED).map(|line| Pairs::of(line)).collect();
    if !effort.spend(search.len().saturating_mul(file.len())) {
        return None;
    }
    let real: Vec<_> = file.iter().map(|line| Pairs::of(&line.text)).collect();
    let asked: f32 = search.iter().map(Pairs::weight).sum();
    let (start, score) = (0..real.len())
        .map(|start| {
            let window = real.iter().skip(start).zip(&search);
            let score: f32 = window.map(|(line, wanted)| wanted.weight() * line.likeness(wanted)).sum();
            (start, score / asked.max(1.0))
        })
        .max_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)))?;
    if score < LEAST_LIKENESS {
        return None;
    }
    let from = start.saturating_sub(2);
    let to = (start + search.len() + 2).min(file.len());
    let lines = file.get(from..to)?.iter().map(|line| line.text.clone()).collect();
    Some(Excerpt { first_line: from + 1, lines })
}

/// The pairs of neighbouring characters of a line, without its blank space.
struct Pairs {
    counts: HashMap<(char, char), u32>,
    total: u32,
}

impl Pairs {
    fn of(line: &str) -> Self {
        let characters: Vec<char> =
            line.chars().filter(|character| !character.is_whitespace()).take(200).collect();
        let mut counts = HashMap::new();
        for pair in characters.windows(2) {
            if let [left, right] = pair {
                *counts.entry((*left, *right)).or_insert(0) += 1;
            }
        }
        Self { total: counts.values().sum(), counts }
    }

    /// Long lines tell more than a lone brace.
    fn weight(&self) -> f32 {
        1.0 + f32::from(u16::try_from(self.total.min(40)).unwrap_or(40))
    }

    /// The Dice coefficient: 0 for nothing in common, 1 for the same.
    fn likeness(&self, other: &Self) -> f32 {
        let total = self.total + other.total;
        if total == 0 {
            return 1.0;
        }
        let common: u32 = other
            .counts
            .iter()
            .filter_map(|(pair, count)| self.counts.get(pair).map(|mine| mine.min(count)))
            .sum();
        2.0 * common as f32 / total as f32
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::TextFile;
    use super::*;

    #[test]
    fn the_likest_window_is_shown_with_its_surroundings() {
        let text: String = (1..=50).map(|number| format!("line_{number}();\n")).collect();
        let text = text.replace("line_30();", "let total = price * quantity;");
        let file = TextFile::parse(text.as_bytes()).unwrap();
        let excerpt =
            nearest(&file.lines, &["let total = price + quantity;".to_owned()], &Effort::default()).unwrap();
        assert_eq!(excerpt.first_line, 28);
        assert_eq!(excerpt.lines.len(), 5);
        assert_eq!(excerpt.lines[2], "let total = price * quantity;");
        assert_eq!(nearest(&file.lines, &["zzz qqq xxx".to_owned()], &Effort::default()), None);
        assert_eq!(nearest(&file.lines, &[String::new()], &Effort::default()), None);
    }

    #[test]
    fn help_ends_when_its_effort_is_spent() {
        let file = TextFile::parse(&b"total();\n".repeat(1000)).unwrap();
        let search = ["total(1);".to_owned()];
        let effort = Effort { left: Cell::new(2500) };
        let helped = std::iter::repeat_with(|| nearest(&file.lines, &search, &effort).is_some());
        assert_eq!(helped.take(4).collect::<Vec<_>>(), [true, true, false, false]);
    }
}
