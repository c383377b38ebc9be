//! Which lines of a file that is too long are shown: those around what the ticket speaks of, not its head.

use std::collections::BTreeSet;
use std::ops::Range;

use super::rank::Rarity;
use super::scan::scan;
use super::words::Vocabulary;

/// How much of a file may be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

/// Lines shown before and after a line of interest.
const BEFORE: usize = 12;
const AFTER: usize = 20;
/// The head that is always shown when there is room, since imports are there.
const HEAD: usize = 20;
/// Windows closer than this become one.
const GAP: usize = 4;
/// Lines that tell less than this part of the best are not worth a window.
const LEAST: f32 = 0.2;

/// Chooses windows, in order, not overlapping. `pinned` are lines, from 0, that the ticket names.
pub(super) fn choose(
    lines: &[&str],
    pinned: &[usize],
    vocabulary: &Vocabulary,
    rarity: &Rarity,
    identifiers: &BTreeSet<String>,
    room: Room,
) -> Vec<Range<usize>> {
    let mut shown = Shown { lines, is_shown: vec![false; lines.len()], room };
    for &line in pinned.iter().filter(|line| **line < lines.len()) {
        shown.around(line);
    }
    shown.add(0..HEAD.min(room.lines / 10));
    let mut scores: Vec<(f32, usize)> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| (tells(line, vocabulary, rarity, identifiers), at))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    scores.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    let least = scores.first().map_or(0.0, |best| best.0 * LEAST);
    let telling: Vec<usize> =
        scores.into_iter().take_while(|(score, _)| *score >= least).map(|(_, line)| line).collect();
    for &line in &telling {
        shown.around(line);
    }
    for &line in pinned.iter().chain(&telling) {
        // Few hits leave room to see more of where they are.
        if shown.room.lines < room.lines * 2 / 3 {
            break;
        }
        shown.add(line.saturating_sub(BEFORE * 4)..line.saturating_add(AFTER * 4));
    }
    shown.ranges()
}

/// How much one line says about what is looked for.
fn tells(line: &str, vocabulary: &Vocabulary, rarity: &Rarity, identifiers: &BTreeSet<String>) -> f32 {
    let scan = scan(line.as_bytes(), vocabulary, identifiers);
    let words = scan.counts.iter().map(|(number, count)| {
        let rare = rarity.get(usize::from(*number)).copied().unwrap_or(0.0);
        rare * count.min(3.0).sqrt()
    });
    words.sum::<f32>() * if scan.defines { 3.0 } else { 1.0 }
}

struct Shown<'a> {
    lines: &'a [&'a str],
    is_shown: Vec<bool>,
    room: Room,
}

impl Shown<'_> {
    /// Shows the line, what is around it, and the heads of the definitions it is in.
    fn around(&mut self, line: usize) {
        if self.is_shown.get(line).copied().unwrap_or(true) {
            return;
        }
        self.add(line..line + 1);
        self.add(line.saturating_sub(BEFORE)..line + AFTER + 1);
        for head in self.heads(line) {
            self.add(head..head + 1);
        }
    }

    /// Shows what fits of the lines.
    fn add(&mut self, range: Range<usize>) {
        for at in range.start..range.end.min(self.lines.len()) {
            let bytes = self.lines.get(at).map_or(0, |line| line.len() + 1);
            let Some(slot) = self.is_shown.get_mut(at).filter(|shown| !**shown) else {
                continue;
            };
            if self.room.lines == 0 || self.room.bytes < bytes {
                return;
            }
            *slot = true;
            self.room = Room { lines: self.room.lines - 1, bytes: self.room.bytes - bytes };
        }
    }

    /// The lines above that are indented less, each less than the one below it: at most four, nearest first.
    fn heads(&self, line: usize) -> Vec<usize> {
        let depth = |at: usize| {
            let line = self.lines.get(at)?;
            let is_telling = line.trim().len() > 1;
            is_telling.then(|| line.len() - line.trim_start().len())
        };
        let mut heads = Vec::new();
        let Some(mut current) = depth(line) else {
            return heads;
        };
        for above in (0..line).rev().take(2_000) {
            if current == 0 || heads.len() == 4 {
                break;
            }
            if let Some(indent) = depth(above).filter(|indent| *indent < current) {
                heads.push(above);
                current = indent;
            }
        }
        heads
    }

    fn ranges(mut self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let shown: Vec<usize> =
            (0..self.is_shown.len()).filter(|at| self.is_shown.get(*at) == Some(&true)).collect();
        for at in shown {
            let gap = ranges.last().map(|last| last.end..at).filter(|gap| gap.len() <= GAP);
            let fits = gap.is_some_and(|gap| {
                let before = self.room.lines;
                let needed = gap.len();
                self.add(gap);
                before - self.room.lines == needed
            });
            match ranges.last_mut() {
                Some(last) if fits || last.end == at => last.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str, query: &str, pinned: &[usize], room: Room) -> Vec<Range<usize>> {
        let mut vocabulary = Vocabulary::default();
        vocabulary.add(query, 1.0);
        let rarity = vocabulary.weights.clone();
        choose(&text.lines().collect::<Vec<_>>(), pinned, &vocabulary, &rarity, &BTreeSet::new(), room)
    }

    fn long_file() -> String {
        let mut text = String::from("import a\n\nclass Cart:\n");
        for number in 0..1_000 {
            text.push_str(&format!("    def method_{number}(self):\n        pass\n\n"));
        }
        text.replace("method_500", "shipping_total")
    }

    #[test]
    fn the_window_is_around_the_hit_with_its_heads() {
        let room = Room { lines: 100, bytes: 100_000 };
        let hit = 3 + 500 * 3;
        let found = windows(&long_file(), "shipping total", &[], room);
        assert_eq!(found, [0..10, hit - BEFORE..hit + AFTER + 1]);
        let found = windows(&long_file(), "shipping total", &[], Room { lines: 500, bytes: 100_000 });
        assert_eq!(found, [0..20, hit - BEFORE * 4..hit + AFTER * 4]);
    }

    #[test]
    fn lines_that_are_named_come_first_and_the_room_is_kept() {
        let room = Room { lines: 30, bytes: 100_000 };
        let found = windows(&long_file(), "shipping total", &[2_000], room);
        assert!(found.iter().any(|window| window.contains(&2_000)), "{found:?}");
        assert_eq!(found.iter().map(ExactSizeIterator::len).sum::<usize>(), 30);
        let tight = windows(&long_file(), "shipping total", &[], Room { lines: 500, bytes: 200 });
        let text = long_file();
        let bytes: usize = tight
            .iter()
            .flat_map(|window| text.lines().skip(window.start).take(window.len()))
            .map(|line| line.len() + 1)
            .sum();
        assert!(bytes <= 200 && bytes > 100, "{bytes}");
    }

    #[test]
    fn a_file_without_hits_shows_its_head() {
        assert_eq!(
            windows(&"x\n".repeat(1_000), "shipping", &[], Room { lines: 500, bytes: 10_000 }),
            std::iter::once(0..20).collect::<Vec<_>>()
        );
        assert!(windows("", "shipping", &[3], Room { lines: 500, bytes: 10_000 }).is_empty());
    }
}
