//! Carrying a file's indentation over to lines that a model indented otherwise.

use std::collections::BTreeMap;

use super::lines::{indent, is_blank};

/// What each indentation of the model's lines is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndentMap {
    pairs: BTreeMap<String, String>,
}

impl IndentMap {
    /// Learns from lines that stand in both; `None` when one indentation of the model is several in the file.
    pub(super) fn learn<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut map = BTreeMap::new();
        for (written, real) in pairs.filter(|(written, _)| !is_blank(written)) {
            let (written, real) = (indent(written), indent(real));
            let known = map.entry(written.to_owned()).or_insert_with(|| real.to_owned());
            if known.as_str() != real {
                return None;
            }
        }
        Some(Self { pairs: map })
    }

    /// Whether nothing changes.
    pub(super) fn is_identity(&self) -> bool {
        self.pairs.iter().all(|(written, real)| written == real)
    }

    /// Whether every line moves by the same blank space.
    pub(super) fn is_uniform(&self) -> bool {
        let same = |strip: fn(&'_ str, &'_ str) -> Option<usize>| {
            let mut shifts = self.pairs.iter().map(|(written, real)| strip(written, real));
            let first = shifts.next().flatten();
            first.is_some() && shifts.all(|shift| shift == first)
        };
        same(|written, real| real.strip_suffix(written).map(str::len))
            || same(|written, real| written.strip_suffix(real).map(str::len))
    }

    /// A line of the replacement with the file's indentation.
    pub(super) fn apply(&self, line: &str) -> String {
        if is_blank(line) {
            return String::new();
        }
        if self.is_identity() {
            return line.to_owned();
        }
        format!("{}{}", self.real_indent(indent(line)), line.trim_start())
    }

    fn real_indent(&self, written: &str) -> String {
        if let Some(real) = self.pairs.get(written) {
            return real.clone();
        }
        let shorter = self.pairs.iter().filter(|(known, _)| written.starts_with(known.as_str()));
        if let Some((known, real)) = shorter.max_by_key(|(known, _)| known.len()) {
            let deeper = written.strip_prefix(known.as_str()).unwrap_or_default();
            return format!("{real}{}", self.convert(deeper));
        }
        let longer = self.pairs.iter().filter(|(known, _)| known.starts_with(written));
        if let Some((known, real)) = longer.min_by_key(|(known, _)| known.len()) {
            let less = self.convert(known.strip_prefix(written).unwrap_or_default());
            return real.strip_suffix(less.as_str()).unwrap_or_default().to_owned();
        }
        written.to_owned()
    }

    /// Spaces as tabs, or tabs as spaces, where the known pairs show that the file has the other.
    fn convert(&self, blank: &str) -> String {
        let all =
            |text: &str, character: char| !text.is_empty() && text.chars().all(|found| found == character);
        for (written, real) in &self.pairs {
            if all(written, ' ') && all(real, '\t') && all(blank, ' ') {
                let unit = (written.len() / real.len()).max(1);
                return format!("{}{}", "\t".repeat(blank.len() / unit), " ".repeat(blank.len() % unit));
            }
            if all(written, '\t') && all(real, ' ') && all(blank, '\t') {
                return " ".repeat(blank.len() * (real.len() / written.len()).max(1));
            }
        }
        blank.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> IndentMap {
        IndentMap::learn(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn a_uniform_shift_is_carried_over() {
        let map = map(&[("a", "    a"), ("  b", "      b")]);
        assert!(map.is_uniform() && !map.is_identity());
        assert_eq!(map.apply("c"), "    c");
        assert_eq!(map.apply("    c"), "        c");
        assert_eq!(map.apply("   "), "");
    }

    #[test]
    fn lines_indented_too_far_come_back() {
        let map = map(&[("        a", "    a"), ("            b", "        b")]);
        assert!(map.is_uniform());
        assert_eq!(map.apply("    c"), "c");
        assert_eq!(map.apply("                c"), "            c");
    }

    #[test]
    fn spaces_become_the_files_tabs() {
        let map = map(&[("    a", "\ta"), ("        b", "\t\tb")]);
        assert!(!map.is_uniform());
        assert_eq!(map.apply("            c"), "\t\t\tc");
        assert_eq!(map.apply("c"), "c");
    }

    #[test]
    fn indentation_that_was_flattened_cannot_be_learnt() {
        assert_eq!(IndentMap::learn([("a", "a"), ("b", "    b")].into_iter()), None);
    }
}
