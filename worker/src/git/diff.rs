//! Comparing two commits.

use std::path::Path;

use git2::{Delta, Diff, DiffFormat, DiffLineType, DiffOptions, Patch, Repository};
use jira_agent::domain::CommitId;

use super::ObjectError;
use super::history::first_parent;
use super::repository::{failed, oid, open};

/// How much two commits differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffStat {
    /// Files that differ.
    pub files: usize,
    /// Lines added.
    pub insertions: usize,
    /// Lines removed.
    pub deletions: usize,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content or mode is another.
    Modified,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// The path from the top; what is not UTF-8 is replaced.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

/// A difference as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnifiedDiff {
    /// The text, whole lines only.
    pub text: String,
    /// Whether the limit has cut it.
    pub truncated: bool,
}

/// Counts what differs.
///
/// # Errors
/// When a commit is missing.
pub fn diff_stat(git_dir: &Path, base: &CommitId, head: &CommitId) -> Result<DiffStat, ObjectError> {
    compare(git_dir, base, head, |diff| {
        let stats = diff.stats()?;
        let (files, insertions, deletions) = (stats.files_changed(), stats.insertions(), stats.deletions());
        Ok(DiffStat { files, insertions, deletions })
    })
}

/// How much of one file a commit changes; a file that is not text counts no lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// The path from the top.
    pub path: String,
    /// Lines added.
    pub added: usize,
    /// Lines removed.
    pub removed: usize,
}

/// The paths that differ, in git's order; a moved file is one deleted and one added.
///
/// # Errors
/// When a commit is missing.
pub fn changed_paths(
    git_dir: &Path,
    base: &CommitId,
    head: &CommitId,
) -> Result<Vec<ChangedPath>, ObjectError> {
    compare(git_dir, base, head, |diff| {
        let changed = diff.deltas().map(|delta| {
            let kind = match delta.status() {
                Delta::Added => ChangeKind::Added,
                Delta::Deleted => ChangeKind::Deleted,
                _ => ChangeKind::Modified,
            };
            let file = if kind == ChangeKind::Deleted { delta.old_file() } else { delta.new_file() };
            let path = file.path_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            ChangedPath { path, kind }
        });
        Ok(changed.collect())
    })
}

/// How many lines of each file a commit adds and removes, against its first parent.
///
/// # Errors
/// When the commit or its parent is missing.
pub fn changed_files(git_dir: &Path, commit: &CommitId) -> Result<Vec<FileStat>, ObjectError> {
    let Some(parent) = first_parent(git_dir, commit)? else { return Ok(Vec::new()) };
    compare(git_dir, &parent, commit, |diff| {
        let mut files = Vec::new();
        for (index, delta) in diff.deltas().enumerate() {
            let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
            let path = file.path_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            let (_, added, removed) = match Patch::from_diff(diff, index)? {
                Some(patch) => patch.line_stats()?,
                None => (0, 0, 0),
            };
            files.push(FileStat { path, added, removed });
        }
        Ok(files)
    })
}

/// The unified diff, at most `max_bytes` long.
///
/// # Errors
/// When a commit is missing.
pub fn unified_diff(
    git_dir: &Path,
    base: &CommitId,
    head: &CommitId,
    max_bytes: usize,
) -> Result<UnifiedDiff, ObjectError> {
    compare(git_dir, base, head, |diff| {
        let mut text = String::new();
        let mut truncated = false;
        let printed = diff.print(DiffFormat::Patch, |_, _, line| {
            let content = String::from_utf8_lossy(line.content());
            let origin = match line.origin_value() {
                DiffLineType::Addition | DiffLineType::Deletion | DiffLineType::Context => {
                    Some(line.origin())
                }
                _ => None,
            };
            if text.len() + content.len() + 1 > max_bytes {
                truncated = true;
                return false;
            }
            text.extend(origin);
            text.push_str(&content);
            true
        });
        // Stopping early is how libgit2 learns that it was enough.
        if !truncated {
            printed?;
        }
        Ok(UnifiedDiff { text, truncated })
    })
}

fn compare<T>(
    git_dir: &Path,
    base: &CommitId,
    head: &CommitId,
    read: impl FnOnce(&Diff<'_>) -> Result<T, git2::Error>,
) -> Result<T, ObjectError> {
    let work = || {
        let repository = open(git_dir)?;
        let tree = |repository: &Repository, commit: &CommitId| {
            repository.find_commit(oid(commit)?).map(|commit| commit.tree_id())
        };
        let (old, new) = (tree(&repository, base)?, tree(&repository, head)?);
        let (old, new) = (repository.find_tree(old)?, repository.find_tree(new)?);
        let diff = repository.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut DiffOptions::new()))?;
        read(&diff)
    };
    work().map_err(failed("compare two commits", git_dir))
}
