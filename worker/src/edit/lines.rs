//! A text file as lines that remember how they ended, so that what is not edited stays as it was.

use std::fmt;

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextFile {
    has_bom: bool,
    pub(super) lines: Vec<Line>,
}

/// One line and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) ending: Ending,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is the last and has no newline.
    None,
    /// `\n`
    Lf,
    /// `\r\n`
    CrLf,
}

/// Why a file is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotText;

const BOM: char = '\u{feff}';

impl TextFile {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NotText> {
        if bytes.contains(&0) {
            return Err(NotText);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NotText)?;
        let (has_bom, text) = text.strip_prefix(BOM).map_or((false, text), |rest| (true, rest));
        let lines = text.split_inclusive('\n').map(Line::parse).collect();
        Ok(Self { has_bom, lines })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    pub(super) fn size(&self) -> usize {
        self.lines.iter().map(|line| line.text.len() + line.ending.as_str().len()).sum()
    }

    /// The ending most lines have.
    pub(super) fn dominant_ending(&self) -> Ending {
        let of = |ending| self.lines.iter().filter(|line| line.ending == ending).count();
        if of(Ending::CrLf) > of(Ending::Lf) { Ending::CrLf } else { Ending::Lf }
    }

    /// Puts lines in the place of others and mends the ends: only the last line may go without, and does so exactly
    /// if the file's last line did.
    pub(super) fn splice(&mut self, range: std::ops::Range<usize>, lines: Vec<Line>) {
        let usual = self.dominant_ending();
        let final_ending = self.lines.last().map(|line| line.ending);
        self.lines.splice(range, lines);
        let last = self.lines.len().saturating_sub(1);
        for (at, line) in self.lines.iter_mut().enumerate() {
            if at == last && final_ending == Some(Ending::None) {
                line.ending = Ending::None;
            } else if line.ending == Ending::None {
                line.ending = usual;
            }
        }
    }
}

impl fmt::Display for TextFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_bom {
            write!(formatter, "{BOM}")?;
        }
        self.lines.iter().try_for_each(|line| write!(formatter, "{}{}", line.text, line.ending.as_str()))
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let (text, ending) = match (line.strip_suffix("\r\n"), line.strip_suffix('\n')) {
            (Some(text), _) => (text, Ending::CrLf),
            (None, Some(text)) => (text, Ending::Lf),
            (None, None) => (line, Ending::None),
        };
        Self { text: text.to_owned(), ending }
    }
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }
}

/// The blank space a line begins with.
pub(super) fn indent(line: &str) -> &str {
    let rest = line.trim_start();
    line.get(..line.len() - rest.len()).unwrap_or_default()
}

/// Whether a line has nothing to see.
pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_file_that_is_not_edited_keeps_its_bytes(text in "(\u{feff})?([a-c \t]{0,3}(\r\n|\n|\r|)){0,12}") {
            prop_assert_eq!(TextFile::parse(text.as_bytes()).unwrap().to_bytes(), text.into_bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        assert_eq!(TextFile::parse(b"a\0b"), Err(NotText));
        assert_eq!(TextFile::parse(b"\xff\xfe"), Err(NotText));
    }
}
