//! Finding the one place in a file that a SEARCH means. Each step is laxer than the one before and is only tried when
//! that found nothing; there is no guess by likeness.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::indent::IndentMap;
use super::lines::{Ending, Line, indent};

/// How literally a SEARCH matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Laxness {
    /// To the letter.
    Exact,
    /// But for blank space at the end of lines.
    TrailingSpace,
    /// But for blank space on both sides of lines.
    SurroundingSpace,
    /// But for blank space and typographic punctuation.
    FoldedPunctuation,
    /// With every line indented more, or less, by the same blank space.
    IndentShift,
}

/// Where a SEARCH was found. Lines count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Located {
    One { start: usize, laxness: Laxness },
    Several(Vec<usize>),
    Nowhere,
}

/// Finds the place of these lines.
pub(super) fn locate(file: &[Line], search: &[String]) -> Located {
    let steps: [(Laxness, Form); 4] = [
        (Laxness::Exact, |line| Cow::Borrowed(line)),
        (Laxness::TrailingSpace, |line| Cow::Borrowed(line.trim_end())),
        (Laxness::SurroundingSpace, trimmed),
        (Laxness::FoldedPunctuation, fold),
    ];
    for (laxness, form) in steps {
        let places = places(file, search, form);
        match places.as_slice() {
            [] => {}
            [start] => {
                let shifted = laxness == Laxness::SurroundingSpace
                    && learn(file, *start, search).is_some_and(|map| map.is_uniform());
                let laxness = if shifted { Laxness::IndentShift } else { laxness };
                return Located::One { start: *start, laxness };
            }
            _ => return Located::Several(places),
        }
    }
    Located::Nowhere
}

/// What of a line is compared.
pub(super) type Form = for<'a> fn(&'a str) -> Cow<'a, str>;

/// A line without the space around it.
pub(super) fn trimmed(line: &str) -> Cow<'_, str> {
    Cow::Borrowed(line.trim())
}

/// All starts of these lines in the file. Each line is looked at once (Knuth, Morris, Pratt): a file of thousands of
/// equal lines would else be compared with a SEARCH of such lines from each of them.
pub(super) fn places(file: &[Line], search: &[String], form: Form) -> Vec<usize> {
    let search: Vec<Cow<'_, str>> = search.iter().map(|line| form(line)).collect();
    if search.is_empty() || search.len() > file.len() {
        return Vec::new();
    }
    // How many lines at the start of the search are also the last of its first so many.
    let mut borders = vec![0; search.len()];
    let mut matched = 0;
    for at in 1..search.len() {
        matched = advance(&search, &borders, matched, &search[at]);
        borders[at] = matched;
    }
    let mut starts = Vec::new();
    matched = 0;
    for (at, line) in file.iter().enumerate() {
        matched = advance(&search, &borders, matched, &form(&line.text));
        if matched == search.len() {
            starts.push(at + 1 - matched);
            matched = borders[matched - 1];
        }
    }
    starts
}

/// How many lines of the search match up to this line, after `matched` of them did up to the one before.
fn advance(search: &[Cow<'_, str>], borders: &[usize], mut matched: usize, line: &str) -> usize {
    while matched > 0 && search[matched] != line {
        matched = borders[matched - 1];
    }
    matched + usize::from(search[matched] == line)
}

fn learn(file: &[Line], start: usize, search: &[String]) -> Option<IndentMap> {
    let real = file.get(start..)?.iter().map(|line| line.text.as_str());
    IndentMap::learn(search.iter().map(String::as_str).zip(real))
}

/// Text without surrounding space and with typographic punctuation as plain.
fn fold(line: &str) -> Cow<'_, str> {
    let line = line.trim();
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    let mut folded = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{ff07}' => folded.push('\''),
            '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ff02}' => folded.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{ff0d}' => folded.push('-'),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => folded.push(' '),
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => {}
            '\u{2026}' => folded.push_str("..."),
            other => folded.push(other),
        }
    }
    Cow::Owned(folded.trim().to_owned())
}

/// How long the lines that a block repeats are looked for; then the rest counts as new.
const LONGEST_DIFF: Duration = Duration::from_secs(2);

/// The lines to put in place of those found. Lines the reply repeats unchanged stay as they are in the file, to the
/// byte; the others get the file's indentation and line ends. `None` when how the file is indented cannot be carried
/// over.
pub(super) fn replacement(
    window: &[Line],
    search: &[String],
    replace: &[String],
    laxness: Laxness,
    usual: Ending,
) -> Option<Vec<Line>> {
    let literal = matches!(laxness, Laxness::Exact | Laxness::TrailingSpace);
    let map = learn(window, 0, search);
    let mut lines = Vec::with_capacity(replace.len());
    let deadline = Instant::now().checked_add(LONGEST_DIFF);
    for operation in capture_diff_slices_deadline(Algorithm::Myers, search, replace, deadline) {
        let (old, new) = (operation.old_range(), operation.new_range());
        if matches!(operation, DiffOp::Equal { .. }) {
            lines.extend_from_slice(window.get(old)?);
            continue;
        }
        let paired = old.len() == new.len();
        for (offset, written) in replace.get(new)?.iter().enumerate() {
            let counterpart = old.start + offset.min(old.len().saturating_sub(1));
            let neighbour = window.get(counterpart).or_else(|| window.last());
            let text = match &map {
                _ if literal => written.clone(),
                Some(map) => map.apply(written),
                None if paired => {
                    reindent_like(written, search.get(counterpart)?, &window.get(counterpart)?.text)?
                }
                None => return None,
            };
            let ending = neighbour.map_or(usual, |line| line.ending);
            lines.push(Line { text, ending: if ending == Ending::None { usual } else { ending } });
        }
    }
    Some(lines)
}

/// A line with the indentation that its counterpart has in the file, if the reply indented both alike.
fn reindent_like(written: &str, counterpart: &str, real: &str) -> Option<String> {
    (indent(written) == indent(counterpart)).then(|| format!("{}{}", indent(real), written.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::super::lines::TextFile;
    use super::*;

    fn edit(file: &str, search: &str, replace: &str) -> (Located, Option<String>) {
        let owned = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (search, replace) = (owned(search), owned(replace));
        let mut file = TextFile::parse(file.as_bytes()).unwrap();
        let located = locate(&file.lines, &search);
        let Located::One { start, laxness } = located else {
            return (located, None);
        };
        let range = start..start + search.len();
        let window = &file.lines[range.clone()];
        let lines = replacement(window, &search, &replace, laxness, file.dominant_ending());
        let text = lines.map(|lines| {
            file.splice(range, lines);
            file.to_string()
        });
        (located, text)
    }

    fn one(start: usize, laxness: Laxness) -> Located {
        Located::One { start, laxness }
    }

    #[test]
    fn the_strictest_step_that_finds_something_decides() {
        let (located, text) = edit("a\n  a\n", "a", "b");
        assert_eq!((located, text.as_deref()), (one(0, Laxness::Exact), Some("b\n  a\n")));
        let (located, _) = edit("a\nx\na\n", "a", "b");
        assert_eq!(located, Located::Several(vec![0, 2]));
        let (located, _) = edit("a\nb\n", "c", "d");
        assert_eq!(located, Located::Nowhere);
    }

    #[test]
    fn places_overlap_and_are_found_among_equal_lines() {
        let line = |text: &str| Line { text: text.to_owned(), ending: Ending::Lf };
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let file: Vec<Line> = ["a", "a", "b", "a", "a", "a", "b", "a"].map(line).into();
        for (search, starts) in [
            (&["a", "a"][..], &[0, 3, 4][..]),
            (&["a", "a", "b", "a"], &[0, 4]),
            (&["b", "a", "a", "a", "b"], &[2]),
            (&["b", "b"], &[]),
        ] {
            assert_eq!(places(&file, &owned(search), trimmed), starts, "{search:?}");
        }
        let start = Instant::now();
        let file = vec![line("a"); 100_000];
        let mut search = owned(&vec!["a"; 20_000]);
        search.push("b".to_owned());
        assert_eq!(locate(&file, &search), Located::Nowhere);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }

    #[test]
    fn unchanged_lines_keep_their_trailing_space() {
        let (located, text) = edit("a  \nb\t\nc\n", "a\nb\nc", "a\nB\nc");
        assert_eq!((located, text.as_deref()), (one(0, Laxness::TrailingSpace), Some("a  \nB\nc\n")));
    }

    #[test]
    fn a_shift_of_all_lines_moves_the_replacement_too() {
        let file = "class A:\n    def f(self):\n        return 1\n";
        let (located, text) = edit(
            file,
            "def f(self):\n    return 1",
            "def f(self):\n    if x:\n        return 2\n    return 1",
        );
        assert_eq!(located, one(1, Laxness::IndentShift));
        assert_eq!(
            text.unwrap(),
            "class A:\n    def f(self):\n        if x:\n            return 2\n        return 1\n"
        );
    }

    #[test]
    fn spaces_for_tabs_match_and_become_tabs() {
        let (located, text) =
            edit("f {\n\ta\n\t\tb\n}\n", "    a\n        b", "    a\n        c\n            d");
        assert_eq!(
            (located, text.as_deref()),
            (one(1, Laxness::SurroundingSpace), Some("f {\n\ta\n\t\tc\n\t\t\td\n}\n"))
        );
    }

    #[test]
    fn flattened_lines_can_only_be_replaced_one_by_one() {
        let file = "if x:\n    a()\n    b()\n";
        assert_eq!(edit(file, "if x:\na()", "if x:\nc()").1.as_deref(), Some("if x:\n    c()\n    b()\n"));
        let (located, text) = edit(file, "if x:\na()", "if x:\na()\nd()");
        assert_eq!((located, text), (one(0, Laxness::SurroundingSpace), None));
    }

    #[test]
    fn typographic_punctuation_is_folded_only_to_find() {
        let (located, text) =
            edit("s = “it’s” \u{a0}– ok…\nt\n", "s = \"it's\"  - ok...\nt", "s = \"it's\"  - ok...\nu");
        assert_eq!(located, one(0, Laxness::FoldedPunctuation));
        assert_eq!(text.as_deref(), Some("s = “it’s” \u{a0}– ok…\nu\n"));
    }

    #[test]
    fn line_ends_stay_as_they_are() {
        assert_eq!(edit("a\r\nb\r\n", "b", "c\nd").1.as_deref(), Some("a\r\nc\r\nd\r\n"));
        assert_eq!(edit("a\nb\r\nc\n", "b", "B").1.as_deref(), Some("a\nB\r\nc\n"));
        assert_eq!(edit("a\nb", "b", "c\nd").1.as_deref(), Some("a\nc\nd"));
        assert_eq!(edit("a\nb", "b", "").1.as_deref(), Some("a"));
        assert_eq!(edit("a\nb\n", "a\nb", "").1.as_deref(), Some(""));
    }
}
