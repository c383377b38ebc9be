//! Applying blocks in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::guards;
use super::lines::{Ending, Line, TextFile};
use super::locate::{Laxness, Located, locate, places, replacement, trimmed};
use super::nearest::{Effort, nearest};
use super::parse::{BlockAction, EditBlock};
use super::patch::Patch;
use super::paths::{PathProblem, PathRules, admit, normalise};
use super::rejection::{BlockFailure, FailureReason, Rejection};
use crate::tree::{Change, FileMode, FileSource};

/// One block that could be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The file, in the form of the tree.
    pub path: String,
    /// What the block did.
    pub action: BlockAction,
    /// How literally its SEARCH matched.
    pub laxness: Laxness,
}

/// Applies the blocks of a reply in order, each to what the earlier ones made, all in memory. Only files of `shown`
/// may be edited or deleted, and new ones created.
///
/// # Errors
/// When any block cannot be applied. The rejection keeps the others and says what to do about the failed ones.
pub fn apply(
    files: &dyn FileSource,
    shown: &BTreeSet<String>,
    rules: &PathRules,
    blocks: Vec<EditBlock>,
) -> Result<Patch, Rejection> {
    Draft::default().run(files, shown, rules, blocks)
}

/// What has been applied so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    touched: BTreeMap<String, Touched>,
    pub(super) accepted: Vec<Acceptance>,
    /// The paths of blocks that failed and have not been sent again.
    pub(super) owed: Vec<String>,
    /// Files that an earlier reply created; a later one may write them anew.
    remade: BTreeSet<String>,
}

/// A file that blocks have touched.
#[derive(Debug)]
struct Touched {
    before: Option<Vec<u8>>,
    /// `None` when it is deleted.
    now: Option<TextFile>,
    mode: FileMode,
}

struct Desk<'a> {
    files: &'a dyn FileSource,
    shown: &'a BTreeSet<String>,
    rules: &'a PathRules,
    /// What may still be spent on help with blocks of this reply that do not apply.
    effort: Effort,
}

impl Draft {
    pub(super) fn run(
        mut self,
        files: &dyn FileSource,
        shown: &BTreeSet<String>,
        rules: &PathRules,
        blocks: Vec<EditBlock>,
    ) -> Result<Patch, Rejection> {
        let desk = Desk { files, shown, rules, effort: Effort::default() };
        let mut failures = Vec::new();
        let is_new = |(path, touched): (&String, &Touched)| touched.before.is_none().then(|| path.clone());
        self.remade = self.touched.iter().filter_map(is_new).collect();
        for block in blocks {
            let path = match normalise(&block.path, |path| self.is_known(&desk, path)) {
                Ok(path) => path,
                Err(problem) => {
                    let path = block.path.clone();
                    failures.push(BlockFailure { path, block, reason: FailureReason::Path(problem) });
                    continue;
                }
            };
            self.owed.retain(|owed| *owed != path);
            if self.accepted.iter().any(|accepted| accepted.path == path && accepted.action == block.action) {
                continue;
            }
            match self.apply_one(&desk, &path, &block.action) {
                Ok(laxness) => self.accepted.push(Acceptance { path, action: block.action, laxness }),
                Err(reason) => failures.push(BlockFailure { path, block, reason }),
            }
        }
        if failures.is_empty() { Ok(self.finish()) } else { Err(Rejection { failures, draft: self }) }
    }

    /// The draft a patch came from.
    pub(super) fn resume(patch: Patch, files: &dyn FileSource) -> Self {
        let mut draft = Self::default();
        for (path, change) in &patch.changes {
            let before = patch.before(path).map(<[u8]>::to_vec);
            let old_mode = files.entry(path).map_or(FileMode::Regular, |entry| entry.mode);
            let (now, mode) = match change {
                Change::Delete => (None, old_mode),
                Change::Write { bytes, executable } => (
                    TextFile::parse(bytes).ok(),
                    if *executable { FileMode::Executable } else { FileMode::Regular },
                ),
            };
            draft.touched.insert(path.clone(), Touched { before, now, mode });
        }
        draft.accepted = patch.blocks;
        draft
    }

    /// Whether a block may edit this path: it was shown, or an earlier block made it.
    fn is_known(&self, desk: &Desk<'_>, path: &str) -> bool {
        desk.shown.contains(path) || self.touched.contains_key(path)
    }

    fn apply_one(
        &mut self,
        desk: &Desk<'_>,
        path: &str,
        action: &BlockAction,
    ) -> Result<Laxness, FailureReason> {
        admit(path, desk.files, desk.rules).map_err(FailureReason::Path)?;
        if !self.touched.contains_key(path) && self.touched.len() >= desk.rules.max_files {
            return Err(FailureReason::TooManyFiles { limit: desk.rules.max_files });
        }
        match action {
            BlockAction::Delete => self.delete(desk, path),
            BlockAction::Replace { search, replace } if search.is_empty() => self.create(desk, path, replace),
            BlockAction::Replace { search, replace } => self.edit(desk, path, search, replace),
        }
    }

    fn delete(&mut self, desk: &Desk<'_>, path: &str) -> Result<Laxness, FailureReason> {
        let mut touched = self.take(desk, path, false)?;
        if touched.now.is_none() {
            self.touched.insert(path.to_owned(), touched);
            return Err(FailureReason::Deleted);
        }
        touched.now = None;
        self.touched.insert(path.to_owned(), touched);
        Ok(Laxness::Exact)
    }

    /// Creates a file, or fills one that is empty or was deleted by an earlier block.
    fn create(&mut self, desk: &Desk<'_>, path: &str, text: &[String]) -> Result<Laxness, FailureReason> {
        let is_there = desk.files.entry(path).is_some() || self.touched.contains_key(path);
        let mut touched = if is_there {
            let touched = self.take(desk, path, true)?;
            let may_rewrite = self.remade.remove(path);
            if !may_rewrite && touched.now.as_ref().is_some_and(|file| !file.lines.is_empty()) {
                self.put_back(path, touched);
                return Err(FailureReason::AlreadyExists);
            }
            touched
        } else {
            self.has_room(path)?;
            Touched { before: None, now: None, mode: new_mode(text) }
        };
        let mut file = TextFile::parse(&[]).map_err(|_| FailureReason::NotText)?;
        let usual = touched.before.as_deref().map_or(Ending::Lf, ending_of);
        file.lines = text.iter().map(|line| Line { text: line.clone(), ending: usual }).collect();
        let checked = guards::check(path, &[], &file.lines, text).map_err(FailureReason::Guard);
        let checked = checked.and_then(|()| within_limit(&file, desk.rules));
        if let Err(reason) = checked {
            if is_there {
                self.put_back(path, touched);
            }
            return Err(reason);
        }
        touched.now = Some(file);
        self.touched.insert(path.to_owned(), touched);
        Ok(Laxness::Exact)
    }

    fn edit(
        &mut self,
        desk: &Desk<'_>,
        path: &str,
        search: &[String],
        replace: &[String],
    ) -> Result<Laxness, FailureReason> {
        let mut touched = self.take(desk, path, false)?;
        let edited = match &touched.now {
            None => Err(FailureReason::Deleted),
            Some(file) => edited(path, file, (search, replace), &desk.effort).and_then(|(file, laxness)| {
                within_limit(&file, desk.rules)?;
                Ok((file, laxness))
            }),
        };
        let result = match edited {
            Ok((file, laxness)) => {
                touched.now = Some(file);
                Ok(laxness)
            }
            Err(FailureReason::NotFound { nearest, already_at, .. }) => {
                let elsewhere = desk.file_with(path, search);
                Err(FailureReason::NotFound { nearest, already_at, elsewhere })
            }
            Err(reason) => Err(reason),
        };
        self.put_back(path, touched);
        result
    }

    /// The file as it is now, taken out of the draft.
    fn take(&mut self, desk: &Desk<'_>, path: &str, creating: bool) -> Result<Touched, FailureReason> {
        if let Some(touched) = self.touched.remove(path) {
            return Ok(touched);
        }
        let entry = desk.files.entry(path);
        if !desk.shown.contains(path) || entry.is_none() {
            return Err(match entry {
                Some(_) if creating => FailureReason::AlreadyExists,
                entry => FailureReason::NotShown { exists: entry.is_some(), similar: desk.similar(path) },
            });
        }
        let limit = desk.rules.max_file_bytes;
        if entry.is_some_and(|entry| entry.size > limit as u64) {
            return Err(FailureReason::TooLarge { limit });
        }
        let content =
            desk.files.read(path).ok_or(FailureReason::NotShown { exists: false, similar: None })?;
        let now = TextFile::parse(&content.bytes).map_err(|_| FailureReason::NotText)?;
        Ok(Touched { before: Some(content.bytes), now: Some(now), mode: content.mode })
    }

    fn put_back(&mut self, path: &str, touched: Touched) {
        self.touched.insert(path.to_owned(), touched);
    }

    /// Whether the files this draft creates leave room for one at the path.
    fn has_room(&self, path: &str) -> Result<(), FailureReason> {
        for (other, _) in self.touched.iter().filter(|(_, touched)| touched.now.is_some()) {
            let is_below = |path: &str, parent: &str| {
                path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
            };
            if is_below(path, other) {
                return Err(FailureReason::Path(PathProblem::BelowFile(other.clone())));
            }
            if is_below(other, path) {
                return Err(FailureReason::Path(PathProblem::Directory));
            }
        }
        Ok(())
    }

    fn finish(self) -> Patch {
        let mut changes = BTreeMap::new();
        let mut before = BTreeMap::new();
        for (path, touched) in self.touched {
            let bytes = touched.now.map(|file| file.to_bytes());
            if bytes == touched.before {
                continue;
            }
            let executable = touched.mode == FileMode::Executable;
            let change = bytes.map_or(Change::Delete, |bytes| Change::Write { bytes, executable });
            if let Some(old) = touched.before {
                before.insert(path.clone(), old);
            }
            changes.insert(path, change);
        }
        Patch::new(changes, before, self.accepted, self.owed)
    }
}

impl Desk<'_> {
    /// A shown file of the same name, if there is just one.
    fn similar(&self, path: &str) -> Option<String> {
        let name = path.rsplit('/').next()?;
        let mut same =
            self.shown.iter().filter(|shown| shown.rsplit('/').next() == Some(name) && *shown != path);
        let only = same.next()?;
        same.next().is_none().then(|| only.clone())
    }

    /// Another shown file that has these lines.
    fn file_with(&self, path: &str, search: &[String]) -> Option<String> {
        if search.iter().map(|line| line.trim().len()).sum::<usize>() < 12 {
            return None;
        }
        let has_them = |other: &&String| {
            let size = self.files.entry(other).and_then(|entry| usize::try_from(entry.size).ok());
            let is_small = size.is_some_and(|size| size <= self.rules.max_file_bytes);
            is_small
                && self.effort.spend(size.unwrap_or_default() / BYTES_PER_COMPARISON)
                && self.files.read(other).is_some_and(|content| {
                    TextFile::parse(&content.bytes)
                        .is_ok_and(|file| !places(&file.lines, search, trimmed).is_empty())
                })
        };
        self.shown.iter().filter(|other| *other != path).take(50).find(has_them).cloned()
    }
}

/// Reading so many bytes costs as much as comparing two lines.
const BYTES_PER_COMPARISON: usize = 64;

fn edited(
    path: &str,
    file: &TextFile,
    (search, replace): (&[String], &[String]),
    effort: &Effort,
) -> Result<(TextFile, Laxness), FailureReason> {
    let (start, laxness) = match locate(&file.lines, search) {
        Located::One { start, laxness } => (start, laxness),
        Located::Several(starts) => {
            return Err(FailureReason::Ambiguous {
                lines: starts.into_iter().map(|start| start + 1).collect(),
            });
        }
        Located::Nowhere => {
            let there = places(&file.lines, replace, trimmed);
            let is_telling = replace.iter().any(|line| line.trim().len() > 3);
            return Err(FailureReason::NotFound {
                nearest: nearest(&file.lines, search, effort).map(Into::into),
                already_at: there.first().filter(|_| is_telling).map(|start| start + 1),
                elsewhere: None,
            });
        }
    };
    let range = start..start + search.len();
    let window = file.lines.get(range.clone()).unwrap_or_default();
    let Some(lines) = replacement(window, search, replace, laxness, file.dominant_ending()) else {
        let lines = window.iter().map(|line| line.text.clone()).collect();
        return Err(FailureReason::Indentation {
            real: super::nearest::Excerpt { first_line: start + 1, lines }.into(),
        });
    };
    let mut after = file.clone();
    after.splice(range, lines);
    guards::check(path, &file.lines, &after.lines, replace).map_err(FailureReason::Guard)?;
    Ok((after, laxness))
}

fn within_limit(file: &TextFile, rules: &PathRules) -> Result<(), FailureReason> {
    let limit = rules.max_file_bytes;
    if file.size() > limit { Err(FailureReason::TooLarge { limit }) } else { Ok(()) }
}

fn new_mode(text: &[String]) -> FileMode {
    let is_script = text.first().is_some_and(|line| line.starts_with("#!"));
    if is_script { FileMode::Executable } else { FileMode::Regular }
}

fn ending_of(bytes: &[u8]) -> Ending {
    TextFile::parse(bytes).map_or(Ending::Lf, |file| file.dominant_ending())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edit::parse;
    use crate::tree::MemoryTree;

    fn rules() -> PathRules {
        PathRules::new(&[], BTreeSet::new()).unwrap()
    }

    fn shown(files: &MemoryTree) -> BTreeSet<String> {
        files.entries().iter().map(|entry| entry.path.clone()).collect()
    }

    fn block(path: &str, search: &str, replace: &str) -> EditBlock {
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        let action = BlockAction::Replace { search: lines(search), replace: lines(replace) };
        EditBlock { number: 1, path: path.to_owned(), action }
    }

    fn text(patch: &Patch, path: &str) -> String {
        match patch.changes.get(path) {
            Some(Change::Write { bytes, .. }) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_patch_can_be_corrected_by_a_further_reply() {
        let files = MemoryTree::of_texts([("a.rs", "one\ntwo\n")]);
        let shown = shown(&files);
        let blocks = vec![block("a.rs", "one", "1"), block("new.rs", "", "x")];
        let patch = apply(&files, &shown, &rules(), blocks).unwrap();
        let blocks = vec![block("a.rs", "1\ntwo", "1\n2"), block("new.rs", "", "y")];
        let patch = patch.continue_with(&files, &shown, &rules(), blocks).unwrap();
        assert_eq!((text(&patch, "a.rs").as_str(), text(&patch, "new.rs").as_str()), ("1\n2\n", "y\n"));
        assert_eq!(patch.before("a.rs"), Some(&b"one\ntwo\n"[..]));
        assert_eq!((patch.added, patch.removed, patch.blocks.len()), (3, 2, 4));

        let rejection =
            patch.continue_with(&files, &shown, &rules(), vec![block("a.rs", "zzz", "")]).unwrap_err();
        assert_eq!(rejection.accepted().len(), 4);
        let patch = rejection.continue_with(&files, &shown, &rules(), Vec::new()).unwrap();
        assert_eq!(text(&patch, "a.rs"), "1\n2\n");
        assert_eq!(patch.warnings, [crate::edit::Warning::Dropped { path: "a.rs".to_owned() }]);
    }

    #[test]
    fn limits_are_kept() {
        let files =
            MemoryTree::of_texts([("a", "a\n".repeat(40)), ("b", "b\n".to_owned()), ("c", "c\n".to_owned())]);
        let mut rules = rules();
        rules.max_file_bytes = 50;
        rules.max_files = 1;
        let fails = |blocks| {
            let rejection = apply(&files, &shown(&files), &rules, blocks).unwrap_err();
            rejection.failures.into_iter().map(|failure| failure.reason).collect::<Vec<_>>()
        };
        assert_eq!(fails(vec![block("a", "a", "b")]), [FailureReason::TooLarge { limit: 50 }]);
        assert_eq!(fails(vec![block("b", "b", &"b".repeat(50))]), [FailureReason::TooLarge { limit: 50 }]);
        assert_eq!(
            fails(vec![block("b", "b", "d"), block("c", "c", "d")]),
            [FailureReason::TooManyFiles { limit: 1 }]
        );
    }

    #[test]
    fn new_files_do_not_stand_in_each_others_way() {
        let files = MemoryTree::default();
        let blocks =
            vec![block("a", "", "x"), block("a/b", "", "x"), block("c/d", "", "x"), block("c", "", "x")];
        let rejection = apply(&files, &shown(&files), &rules(), blocks).unwrap_err();
        let reasons: Vec<_> = rejection.failures.iter().map(|failure| &failure.reason).collect();
        assert_eq!(
            reasons,
            [
                &FailureReason::Path(PathProblem::BelowFile("a".to_owned())),
                &FailureReason::Path(PathProblem::Directory)
            ]
        );
    }

    fn body() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-z(){};, \t]{0,12}", 1..12)
    }

    proptest! {
        #[test]
        fn an_exact_edit_changes_its_lines_and_nothing_else(
            (mut lines, from, length) in body().prop_flat_map(|lines| {
                let count = lines.len();
                (Just(lines), 0..count).prop_flat_map(move |(lines, from)| (Just(lines), Just(from), 1..=count - from))
            }),
            replace in body(),
            crlf: bool,
            bom: bool,
            final_newline: bool,
        ) {
            // Every line differs, so that the place is one.
            for (number, line) in lines.iter_mut().enumerate() {
                line.push_str(&number.to_string());
            }
            prop_assume!(replace.len() > 1 || !replace[0].trim().is_empty());
            // How lines end can only be told from a line that ends.
            prop_assume!(!crlf || lines.len() > 1 || final_newline);
            let newline = if crlf { "\r\n" } else { "\n" };
            let join = |lines: &[String]| {
                let end = if final_newline { newline } else { "" };
                format!("{}{}{end}", if bom { "\u{feff}" } else { "" }, lines.join(newline))
            };
            let mut expected = lines.clone();
            let search: Vec<String> = expected.splice(from..from + length, replace.clone()).collect();
            let reply = format!(
                "a.rs\n<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE\n", search.join("\n"), replace.join("\n")
            );
            let files = MemoryTree::of_texts([("a.rs", join(&lines))]);
            let patch = apply(&files, &shown(&files), &rules(), parse(&reply).unwrap()).unwrap();
            prop_assert_eq!(text(&patch, "a.rs"), join(&expected));
            prop_assert_eq!(patch.blocks[0].laxness, Laxness::Exact);
        }

        #[test]
        fn a_reply_that_is_indented_otherwise_gives_the_same_file(
            lines in proptest::collection::vec("( {0,8})[a-z]{1,6}", 2..12),
            replace in proptest::collection::vec("( {0,8})[A-Z]{1,6}", 0..6),
            from in 0_usize..11,
            shift in 1_usize..6,
        ) {
            let number = |(number, line): (usize, &String)| format!("{line}{number}");
            let lines: Vec<String> = lines.iter().enumerate().map(number).collect();
            let from = from.min(lines.len() - 1);
            let to = lines.len().min(from + 3);
            let mut expected = lines.clone();
            let search: Vec<String> = expected.splice(from..to, replace.clone()).collect();
            let shifted = |lines: &[String]| {
                lines.iter().map(|line| format!("{}{line}", " ".repeat(shift))).collect::<Vec<_>>().join("\n")
            };
            let files = MemoryTree::of_texts([("a.py", lines.join("\n"))]);
            let blocks = vec![block("a.py", &shifted(&search), &shifted(&replace))];
            let patch = apply(&files, &shown(&files), &rules(), blocks).unwrap();
            prop_assert_eq!(patch.blocks[0].laxness, Laxness::IndentShift);
            prop_assert_eq!(text(&patch, "a.py"), expected.join("\n"));
        }

        #[test]
        fn any_blocks_are_applied_or_refused_without_panic(
            file in "((a|b|“| |\t|\\{|\n|\r\n|`{3}){0,6}\n?){0,8}",
            blocks in proptest::collection::vec(
                ("(a\\.py|b/|\\.git|a|/|\u{fc}){0,3}", "((a|b|\"| |\t|\\{){0,4}\n){0,4}", "((a|B| |\t|`{3}|# \\.\\.\\.){0,4}\n){0,4}"),
                0..5,
            ),
        ) {
            let files = MemoryTree::of_texts([("a.py", file)]);
            let blocks = blocks.iter().map(|(path, search, replace)| block(path, search, replace)).collect();
            if let Err(rejection) = apply(&files, &shown(&files), &rules(), blocks) {
                prop_assert!(!rejection.for_model().is_empty() && !rejection.failures.is_empty());
            }
        }
    }
}
