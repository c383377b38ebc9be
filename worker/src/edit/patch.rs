//! The whole change a reply makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use similar::{ChangeTag, TextDiff, TextDiffConfig};

use super::apply::{Acceptance, Draft};
use super::parse::EditBlock;
use super::paths::PathRules;
use super::rejection::Rejection;
use crate::tree::{Change, FileSource};

/// The whole change, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// The files that change, by path; empty when the blocks change nothing.
    pub changes: BTreeMap<String, Change>,
    /// The blocks it was made of, in order.
    pub blocks: Vec<Acceptance>,
    /// What a reviewer should look at.
    pub warnings: Vec<Warning>,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
    before: BTreeMap<String, Vec<u8>>,
}

/// Something odd about a patch, though not wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A file lost more than four fifths of its lines.
    Shrunk {
        /// The file.
        path: String,
        /// Lines before.
        before: usize,
        /// Lines after.
        after: usize,
    },
    /// A block that could not be applied was not sent again.
    Dropped {
        /// The file it was for.
        path: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shrunk { path, before, after } => {
                write!(formatter, "{path} shrank from {before} lines to {after}")
            }
            Self::Dropped { path } => {
                write!(formatter, "an edit of {path} that could not be applied was left out by the model")
            }
        }
    }
}

/// Files with fewer lines than this may shrink unmentioned.
const SHRINKABLE_LINES: usize = 10;

impl Patch {
    pub(super) fn new(
        changes: BTreeMap<String, Change>,
        before: BTreeMap<String, Vec<u8>>,
        blocks: Vec<Acceptance>,
        dropped: Vec<String>,
    ) -> Self {
        let mut patch = Self { changes, blocks, before, ..Self::default() };
        patch.warnings = dropped.into_iter().map(|path| Warning::Dropped { path }).collect();
        let counts: Vec<(usize, usize)> = patch.changes.keys().map(|path| patch.count(path)).collect();
        for (path, (added, removed)) in patch.changes.keys().zip(counts) {
            patch.added += added;
            patch.removed += removed;
            let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().count();
            let before = patch.before.get(path).map_or(0, |bytes| lines(bytes));
            if let Some(Change::Write { bytes, .. }) = patch.changes.get(path) {
                let after = lines(bytes);
                if before >= SHRINKABLE_LINES && after * 5 < before {
                    patch.warnings.push(Warning::Shrunk { path: path.clone(), before, after });
                }
            }
        }
        patch
    }

    /// Goes on from this patch with the blocks of a further reply, which see the files as the patch left them.
    ///
    /// # Errors
    /// When a new block cannot be applied; the rejection keeps this patch and the blocks that could be.
    pub fn continue_with(
        self,
        files: &dyn FileSource,
        shown: &BTreeSet<String>,
        rules: &PathRules,
        blocks: Vec<EditBlock>,
    ) -> Result<Self, Rejection> {
        Draft::resume(self, files).run(files, shown, rules, blocks)
    }

    /// A file's content before the patch; `None` for a new file and for one that does not change.
    #[must_use]
    pub fn before(&self, path: &str) -> Option<&[u8]> {
        self.before.get(path).map(Vec::as_slice)
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The patch as a unified diff with three lines around, for people to read.
    #[must_use]
    pub fn unified_diff(&self) -> String {
        let mut text = String::new();
        for (path, change) in &self.changes {
            let (before, after) = self.texts(path);
            let old_name =
                if self.before.contains_key(path) { format!("a/{path}") } else { "/dev/null".to_owned() };
            let new_name =
                if *change == Change::Delete { "/dev/null".to_owned() } else { format!("b/{path}") };
            let body = diff(&before, &after).unified_diff().header(&old_name, &new_name).to_string();
            if body.is_empty() {
                text.push_str(&format!("--- {old_name}\n+++ {new_name}\n"));
            }
            text.push_str(&body);
        }
        text
    }

    fn count(&self, path: &str) -> (usize, usize) {
        let (before, after) = self.texts(path);
        let diff = diff(&before, &after);
        diff.iter_all_changes().fold((0, 0), |(added, removed), change| match change.tag() {
            ChangeTag::Insert => (added + 1, removed),
            ChangeTag::Delete => (added, removed + 1),
            ChangeTag::Equal => (added, removed),
        })
    }

    fn texts(&self, path: &str) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let after = match self.changes.get(path) {
            Some(Change::Write { bytes, .. }) => text(bytes),
            Some(Change::Delete) | None => String::new(),
        };
        (self.before(path).map(text).unwrap_or_default(), after)
    }
}

fn diff<'a>(before: &'a str, after: &'a str) -> TextDiff<'a, 'a, str> {
    TextDiffConfig::default().timeout(Duration::from_secs(2)).diff_lines(before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> Change {
        Change::Write { bytes: text.as_bytes().to_vec(), executable: false }
    }

    #[test]
    fn a_patch_is_counted_and_shown() {
        let changes = BTreeMap::from([
            ("changed".to_owned(), write("a\nB\n")),
            ("gone".to_owned(), Change::Delete),
            ("new".to_owned(), write("n")),
            ("new_empty".to_owned(), write("")),
        ]);
        let before = BTreeMap::from([
            ("changed".to_owned(), b"a\nb\n".to_vec()),
            ("gone".to_owned(), b"x\ny\n".to_vec()),
        ]);
        let patch = Patch::new(changes, before, Vec::new(), vec!["other".to_owned()]);
        assert_eq!((patch.added, patch.removed), (2, 3));
        assert_eq!(patch.warnings, [Warning::Dropped { path: "other".to_owned() }]);
        insta::assert_snapshot!(patch.unified_diff(), @r"
        --- a/changed
        +++ b/changed
        @@ -1,2 +1,2 @@
         a
        -b
        +B
        --- a/gone
        +++ /dev/null
        @@ -1,2 +0,0 @@
        -x
        -y
        --- /dev/null
        +++ b/new
        @@ -0,0 +1 @@
        +n
        \ No newline at end of file
        --- /dev/null
        +++ b/new_empty
        ");
    }

    #[test]
    fn a_file_that_loses_most_of_itself_is_mentioned() {
        let long: String = (0..100).map(|number| format!("{number}\n")).collect();
        let of = |after: &str| {
            let changes = BTreeMap::from([("a".to_owned(), write(after))]);
            let before = BTreeMap::from([("a".to_owned(), long.clone().into_bytes())]);
            Patch::new(changes, before, Vec::new(), Vec::new()).warnings
        };
        assert_eq!(of("0\n"), [Warning::Shrunk { path: "a".to_owned(), before: 100, after: 1 }]);
        assert_eq!(of(&"0\n".repeat(20)), []);
    }
}
