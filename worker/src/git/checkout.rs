//! Materialising a commit, and the paths that must not be edited.

use std::collections::BTreeMap;
use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{AttrCheckFlags, AttrValue, CheckoutNotificationType, Index};
use jira_agent::domain::CommitId;
use tokio_util::sync::CancellationToken;

use super::repository::{failed, open};
use super::{ObjectError, Snapshot};

/// The first line of a Git LFS pointer file: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";

/// Writes a commit's files into `tree`, byte for byte as they are in git: no end-of-line conversion and no filter, so
/// that a file on disk equals its blob. Symlinks are made as links and not followed; submodules stay empty.
/// Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// `Cancelled`, a full disk, or a commit with a path that git forbids.
pub fn checkout(
    git_dir: &Path,
    commit: &CommitId,
    tree: &Path,
    cancel: &CancellationToken,
) -> Result<(), ObjectError> {
    let snapshot = Snapshot::open(git_dir, commit)?;
    let mut options = CheckoutBuilder::new();
    options
        .target_dir(tree)
        .force()
        .disable_filters(true)
        .update_index(false)
        .refresh(false)
        .notify_on(CheckoutNotificationType::all())
        .notify(|_, _, _, _, _| !cancel.is_cancelled());
    let written = snapshot.tree().and_then(|files| {
        snapshot
            .repository()
            .checkout_tree(files.as_object(), Some(&mut options))
    });
    if cancel.is_cancelled() {
        return Err(ObjectError::Cancelled {
            git_dir: git_dir.to_owned(),
        });
    }
    written.map_err(failed("check a commit out", git_dir))
}

/// The paths to which the commit's own `.gitattributes` give a filter, with its name, e.g. `lfs`. What git holds of
/// them is not what their users see, so an edit would damage them. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// When an object is missing or broken.
pub fn filtered_paths(snapshot: &Snapshot) -> Result<BTreeMap<String, String>, ObjectError> {
    let entries = snapshot.entries()?;
    let mut named = false;
    for entry in &entries {
        let is_attributes = entry.path == ".gitattributes" || entry.path.ends_with("/.gitattributes");
        if is_attributes && entry.mode.is_file() {
            named |= contains(&snapshot.read(&entry.path)?, b"filter");
        }
    }
    if !named {
        return Ok(BTreeMap::new());
    }
    let look = || {
        let repository = open(snapshot.git_dir())?;
        let mut index = Index::new()?;
        index.read_tree(&snapshot.tree()?)?;
        repository.set_index(&mut index)?;
        let flags = AttrCheckFlags::INDEX_ONLY | AttrCheckFlags::NO_SYSTEM;
        let mut filtered = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.mode.is_file()) {
            let value = repository.get_attr(Path::new(&entry.path), "filter", flags)?;
            if let AttrValue::String(filter) = AttrValue::from_string(value) {
                filtered.insert(entry.path, filter.to_owned());
            }
        }
        Ok(filtered)
    };
    look().map_err(failed("read git's attributes", snapshot.git_dir()))
}

/// Whether this content stands for a file that Git LFS keeps elsewhere.
#[must_use]
pub fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() < 1024 && content.starts_with(LFS_POINTER)
}

fn contains(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|window| window == word)
}
